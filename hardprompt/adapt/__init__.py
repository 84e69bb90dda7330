"""Ways to change a frozen model by training few numbers in it or beside it."""
