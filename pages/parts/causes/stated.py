"""Keys in the address of Causes that name a finished job, which is then shown as it was asked."""

ABLATION_ASKED = "ablation_job"  # the id of an ablation over prompts
EVICTION_ASKED = "eviction_job"  # the same of an eviction
