"""The page about a simulated film club: the words around the numbers, made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import Mean
from attlas.page.charts import Chart, by_group, intervals, learning_curve, looks_of, places, quality_against_seconds
from attlas.page.report import Page, Person
from attlas.page.standings import Entry, verdict
from attlas.page.truth import ANY, CHOSEN, TRUTH
from attlas.telling import typed


@dataclass(frozen=True)
class Findings:
    """What was measured on a club.

    Attributes:
        entries: the models, then the truth as a reference.
        metrics: those of the table; the first leads.
        activity, popularity: the first metric by how much users have seen, and by how many have seen the held-out film.
        lists: for each kind of list its true exposure and preference.
        people: who was recommended what.
        data: counts by name: users, items, rows, train, valid, test, split, seed, fingerprint, source.
        versions: what it was measured with.
        seconds: how long everything took.
        folder: where it lies, as a person would type it.
        is_quick: a smaller club than usual.
    """

    entries: Sequence[Entry]
    metrics: Sequence[str]
    activity: Breakdown
    popularity: Breakdown
    lists: Mapping[str, tuple[Mean, Mean]]
    people: Sequence[Person]
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: float
    folder: str
    is_quick: bool


def club_page(found: Findings) -> Page:
    """The whole page."""
    data, metric, report = found.data, found.metrics[0], found.entries[0].report
    return Page(
        kicker="attlas demo: a simulated film club",
        title="Which films will they choose next?",
        answer=verdict(found.entries, metric),
        introduction=_introduction(found),
        facts={
            "members": f"{data['users']:,}",
            "films": f"{data['items']:,}",
            "choices": f"{data['rows']:,}",
            "held out as the test": f"{data['test']:,}",
            "members tested": f"{len(report.users):,}",
            "for all of this": f"{found.seconds:.0f} s",
        },
        entries=found.entries,
        metrics=found.metrics,
        charts=_charts(found),
        people=found.people,
        people_words="The best films that each has not seen, with the reasons behind them: open a film to see its own. What "
        "the truth thinks of a film stands beneath its name; 0 is indifference.",
        notes=_notes(found),
        commands=_commands(found),
    )


def _introduction(found: Findings) -> list[str]:
    data, metric = found.data, found.metrics[0]
    truth = next(entry for entry in found.entries if entry.is_reference)
    names = [entry.name for entry in found.entries if not entry.is_reference]
    return [
        f"A film club of {data['users']:,} members and {data['items']:,} films was made up, and with it "
        f"{data['rows']:,} choices over one year. The latest tenth of them was put aside for the test and the "
        f"tenth before it for validation. "
        f"{', '.join(names[:-1])} and {names[-1]} learned from the rest and then ranked, for every member with a film put "
        "aside, all the films that the member had not seen.",
        f"Because the club is made up, its truth is known: whoever knew how likely each member is to notice each film, and to "
        f"take it, would reach {metric_name(metric)} {truth.mean(metric).value:.3f}. The rest is chance. No model saw that "
        "truth.",
    ]


def _charts(found: Findings) -> dict[str, list[Chart]]:
    metric, entries = found.metrics[0], found.entries
    looks = looks_of(entries)
    learners = [entry for entry in entries if entry.curve]
    return {
        "How good, how fast": [
            intervals(
                entries, metric, words="The line is the 95 % interval. The hollow mark is what knowing the truth would reach."
            ),
            quality_against_seconds(
                entries, metric, words="The time of fitting alone, kernels compiled before, on a logarithmic scale."
            ),
        ],
        **{f"How {entry.name} learned": [_curve(entry, entries, metric)] for entry in learners},
        "For whom, and for which films": [
            by_group(
                found.activity,
                looks,
                metric,
                heading="By how much a member has seen",
                axis="films seen before",
                counted="members",
                words="Members in quarters by the length of their history.",
            ),
            by_group(
                found.popularity,
                looks,
                metric,
                heading="By how well known the film was",
                axis="members who saw the film before",
                counted="choices",
                words="Held-out choices in quarters; in each, only its own films count as found.",
            ),
        ],
        "What the lists are made of": [likes(found.lists, looks, found.entries[0].report.k[0])],
    }


def _curve(entry: Entry, entries: Sequence[Entry], metric: str) -> Chart:
    best = max(entry.curve, key=lambda epoch: epoch.valid or 0.0)
    words = (
        f"Loss on the training part and {metric_name(metric)} on the validation part after each of {len(entry.curve)} epochs. "
        f"The weights of epoch {best.number}, the ringed one, were kept. Dotted: models that learn in one go."
    )
    others = [other for other in entries if other is not entry and not other.curve]
    return learning_curve(entry, metric, others=others, look=looks_of(entries)[entry.name], words=words)


def _notes(found: Findings) -> dict[str, str]:
    data, report = found.data, found.entries[0].report
    return {
        "Protocol": f"{report.protocol}: every film that the member has not seen is ranked; ties averaged",
        "Split": f"{data['split']}: {data['train']:,} train, {data['valid']:,} validation, {data['test']:,} test",
        "Intervals": "95 %, percentile bootstrap over members; differences are taken member by member",
        "Settings and epochs": "chosen on the validation part, never on the test part",
        "Seed": f"{data['seed']} for the club, the weights and the negatives",
        "Training data": f"fingerprint {data['fingerprint']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "Made up": "members, films and titles; any likeness is chance",
    }


def _commands(found: Findings) -> dict[str, str]:
    folder = typed(found.folder)
    mine = f"attlas fit --data {folder}/ratings.csv --items {folder}/films.csv --model delf --out runs/mine"
    return {
        f"attlas demo --out {folder}{' --quick' if found.is_quick else ''}": "makes all of this again",
        f"attlas recommend {folder}/delf m17 -k 5": "recommends to a member",
        f"attlas explain {folder}/delf --history f4,f10,f77 f42": "says why, for a stranger with three films",
        f"attlas evaluate {folder}/ease -k 10 -k 20": "measures a run again",
        mine: "learns from a table, this or yours",
    }


def likes(points: Mapping[str, tuple[Mean, Mean]], looks: Mapping[str, dict[str, str]], k: int) -> Chart:
    """Where each list stands between what is loved and what is merely everywhere."""
    hollow = looks[TRUTH]
    sides = {CHOSEN: {"symbol": "star-open"}, ANY: {"symbol": "circle-open"}}
    return places(
        points,
        {**looks, **{name: hollow | side for name, side in sides.items()}},
        heading="Loved, or merely everywhere?",
        words=_likes_words(points, k),
        axes=("true exposure", "true preference"),
    )


def _likes_words(points: Mapping[str, tuple[Mean, Mean]], k: int) -> str:
    liking = {name: preference.value for name, (_, preference) in points.items()}
    notice = {name: exposure.value for name, (exposure, _) in points.items()}
    models = [name for name in points if name not in (TRUTH, CHOSEN, ANY)]
    kindest, loudest = max(models, key=liking.__getitem__), max(models, key=notice.__getitem__)
    both = f"{kindest}'s list holds the best liked and the best known" if kindest == loudest else ""
    apart = (
        f"{kindest}'s list holds the best liked ({liking[kindest]:+.2f}), {loudest}'s the best known ({notice[loudest]:.2f})"
    )
    return (
        "Across: how likely a film is to come to the member's notice. Up: how much the member would like it, 0 being "
        "indifference. People choose among what they notice, so a model can be right by naming what they notice anyway. Of the "
        f"first {k} films of the models' lists, {both or apart}; what members chose next was liked {liking[CHOSEN]:+.2f}, "
        f"and the list of the truth {liking[TRUTH]:+.2f}."
    )
