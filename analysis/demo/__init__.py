"""The bundled pair: the text it learns, its training, its tasks and its report."""
