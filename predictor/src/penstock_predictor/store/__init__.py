"""Models in object stores (s3, gs, az, https): listed, fetched into a local cache by digest, and served from there.

ObjectSource --list--> RemoteStore      places by the same rules as in a directory
     \\--fetch--> ModelCache --copy--> Download (resumed, checked)
"""
