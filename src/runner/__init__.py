"""Around DVC: which code a stage runs, stages side by side, progress of the whole, the last screen."""
