"""What the screen says: pure functions from a snapshot to lines of marked text. Nothing here imports Textual."""
