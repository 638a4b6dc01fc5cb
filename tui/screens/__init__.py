"""One screen a file. A screen hands each widget its part of the frame and turns keys into commands."""
