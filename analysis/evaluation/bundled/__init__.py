"""The bundled benchmark tasks, in lm-eval's own form."""
