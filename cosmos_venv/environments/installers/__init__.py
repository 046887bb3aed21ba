"""pip and uv: what they are told, and which of them installs."""
