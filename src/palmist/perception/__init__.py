"""From pixels to recordings: video, hands, points, objects. Nothing here is imported by `import palmist`."""
