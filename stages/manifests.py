"""`manifests`: which code each entry of this folder runs. All other stages depend on what this one writes."""

from stages import run  # first: it puts src/ on the path

from runner import manifests

if __name__ == "__main__":
    run(manifests.write)
