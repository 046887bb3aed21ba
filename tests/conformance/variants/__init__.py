"""Sound implementations that do things otherwise than cosmos-venv, each as an implementer might: the suite has to let
them be."""
