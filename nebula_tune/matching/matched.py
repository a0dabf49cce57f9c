"""What matching finds, as JSON and back. Distances are over the mean distance of two random sounds of the prior."""

from __future__ import annotations

from nebula_tune.results import Found


class MatchedPreset(Found):
    """One preset of a synth, and how far its sound is from the one to be matched.

    Attributes:
        index: of the sound, by which its noise goes.
        distance: the ears' weighted sum; 1 is as far as two random sounds are from each other.
        by_ear: under each ear.
        raw: parameters from 0 to 1, before the nebula bends them.
        human: parameters in the synth's own units.
        file: name of the audio in the match's folder, where it was written.
    """

    index: int
    distance: float
    by_ear: dict[str, float]
    raw: dict[str, float]
    human: dict[str, float]
    file: str | None = None


class Matched(Found):
    """What was found for one sound.

    Attributes:
        sound: the audio file.
        name: what it is called.
        presets: nearest first.
        pool_best: the nearest of the random sounds, from where the searches began.
        random_distance: the median random sound's distance, with ``random_by_ear``.
        folder: of audio and parameters, where they were written.
    """

    sound: str
    name: str
    presets: list[MatchedPreset]
    pool_best: MatchedPreset
    random_distance: float
    random_by_ear: dict[str, float]
    folder: str | None = None
