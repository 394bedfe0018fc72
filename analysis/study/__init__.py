"""What a study has found, in numbers and sentences, and the report that is made of it. Imports no torch."""
