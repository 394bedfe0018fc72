"""Names of a block's projections: q_proj … down_proj, and of each expert if there are some. No torch."""

import re

FUSED = {"query_key_value": ("q_proj", "k_proj", "v_proj"), "gate_and_up": ("gate_proj", "up_proj")}
"""Matrices that some files hold instead of several, by native name, with those that make up their consecutive rows."""
_FUSED_IN_FILES = {"query_key_value": "query_key_value", "attn_qkv": "query_key_value", "Wqkv": "query_key_value"} | {
    "Wi": "gate_and_up"
}
_GATE_AND_UP = "gate_up_proj"
PACKED = re.compile(r"(?:^|\.)experts\.(gate_up_proj|down_proj)$")
"""The tensors of a block that hold all experts, where a file has such."""
_EXPERT = re.compile(r"(?:^|\.)experts\.(\d+)\.(\w+)$")
_SETS = ("experts", "shared_experts")


def fused_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the part of a tensor's name that denotes a fused matrix, in a file or in the running model, and the names
    of the matrices it holds, in order; None for any other tensor.
    """
    words = name.split(".")
    word = next((word for word in words if word in _FUSED_IN_FILES or word in FUSED), None)
    return None if word is None else (word, FUSED[_FUSED_IN_FILES.get(word, word)])


def part_of_fused(name: str, part: str) -> str:
    """Return the name that a part of a fused tensor would have as a tensor of its own."""
    found = fused_of(name)
    assert found is not None
    return ".".join(part if word == found[0] else word for word in name.split("."))


def parts_of_packed(name: str, rows: int) -> list[tuple[str, int, int]]:
    """Return (name, first row, one past the last row) of one expert's matrices in a tensor that holds those of all, (E,
    rows, in); gate precedes up. name: the tensor's.
    """
    if name.rpartition(".")[2] == _GATE_AND_UP:
        return [("gate_proj", 0, rows // 2), ("up_proj", rows // 2, rows)]
    return [("down_proj", 0, rows)]


def packed_of(name: str) -> str | None:
    """The name of the tensor that holds a matrix of one expert with those of all others; None for any other tensor."""
    stem, _, ending = name.rpartition(".")
    match = _EXPERT.search(stem)
    if match is None or ending != "weight":
        return None
    packed = _GATE_AND_UP if match[2] in ("gate_proj", "up_proj") else match[2]
    return f"{stem[: match.start(1)]}{packed}"


def expert_of(name: str) -> int | None:
    """The expert that a projection belongs to, by its number; None for one outside of the experts."""
    match = _EXPERT.search(name)
    return int(match[1]) if match else None


def of_expert(name: str, expert: int) -> str:
    """A projection's name in a mask with the number of an expert: experts.3.up_proj for experts.up_proj."""
    return name.replace("experts.", f"experts.{expert}.", 1)


def of_any_expert(name: str) -> str:
    """A projection's name in a mask without the number of its expert: experts.up_proj for experts.3.up_proj."""
    match = _EXPERT.search(name)
    return f"experts.{match[2]}" if match else name


def kind_of(name: str) -> str:
    """Return a projection's name without its expert: q_proj, shared_experts.up_proj, experts.up_proj."""
    *path, last = of_any_expert(name).split(".")
    return f"{path[-1]}.{last}" if path and path[-1] in _SETS else last


def words_of(name: str) -> set[str]:
    """The words by which a projection is left dense: the last of its name, and of an expert's or the shared experts'
    projection that it is one of theirs.
    """
    kind = kind_of(name)
    return {kind, *kind.split(".")}
