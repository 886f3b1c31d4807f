"""From pixels to recordings: video, webcam, hands, point tracks.

Nothing here is imported by `import palmist`, and nothing imports PyAV, OpenCV or MediaPipe before it is used.
"""
