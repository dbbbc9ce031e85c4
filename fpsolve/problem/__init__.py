"""What the user chooses: quantizers, teacher, initial weights, and the `Problem` they make."""
