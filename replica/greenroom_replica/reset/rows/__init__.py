"""The rows of process state that a reset restores; each knows how to read, compare and put itself back."""
