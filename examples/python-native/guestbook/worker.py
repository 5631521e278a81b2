"""The worker process: says in one line what it would work with, and ends."""

from guestbook.notes import open_notes
from guestbook.platform import versions


def main():
    notes = open_notes()
    print(f"{len(notes.all())} notes {notes.where}; libpq {versions()['libpq (loaded)']}")


if __name__ == "__main__":
    main()
