amount * 1.2
