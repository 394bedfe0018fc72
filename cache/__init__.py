"""The disk store. `disk` is the format on disk, `keys` names results by their content, `store` is what is kept."""
