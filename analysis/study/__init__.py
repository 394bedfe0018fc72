"""Results of a study, in numbers and sentences, and the report made of them. Imports no torch."""
