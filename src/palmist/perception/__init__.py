"""From pixels to tracks: video, webcam and point tracks. Nothing here imports PyAV or OpenCV before it is used."""
