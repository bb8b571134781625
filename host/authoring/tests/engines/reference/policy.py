# The parts of Python that policies use, told in the reason of a denial: the engine and CPython must say the same.
import base64
import collections
import datetime
import functools
import itertools
import json
import math
import re
from dataclasses import dataclass

from countersign import abstain, deny, permit, restrict

FORM = re.compile(r"^(?P<team>team|my|abstain)(?:-(?P<rest>[a-z-]+))?$")
CEILINGS = {"apply": 3600, "detect": 600, "destroy": 900}


@dataclass
class Word:
    text: str
    size: int = 0

    def loud(self):
        return self.text.upper()


def texts(run, token):
    owner = run.building_block.workspace
    author = run.trigger.author if run.trigger else "absent"
    found = FORM.match(owner)
    return [
        lambda: owner.rjust(14, ".").ljust(16, "*"),
        lambda: " ".join(part.capitalize() for part in owner.split("-")),
        lambda: re.sub(r"-(\w)", r"[\1]", owner) + re.split(r"[-@]", author)[0],
        lambda: ",".join(reversed(owner.replace("-", "--").split("--"))),
        lambda: ";".join(f"{match.start()}{match.group()}" for match in re.finditer(r"[aeiou]+", owner)),
        lambda: (found.group("rest") or "bare") if found else "none",
        lambda: f"{owner[-1]}{ord(owner[0])}{owner.find('team')}{owner.rfind('-')}{owner[::-1]}{owner[1:4]}{owner[-3:]}",
        lambda: f"{owner < 'team-b'} {owner.startswith(('team', 'my'))} {'-a' in owner} {owner.isalpha()} {owner.partition('-')}",
        lambda: f"{author!r} {len(author)} {len(author.encode())} {author.upper()} {author.title()}",
        lambda: json.dumps({"b": author, "a": [owner, None, token.audiences, True], "c": 1.5}, sort_keys=True),
        lambda: repr(json.loads('{"z": [1, 2.50, 1e3, "\\u00e4\\n"], "a": null}')),
        lambda: f"{owner:>14}|{owner:^14}|{owner:.3}|{len(owner):05d}|{owner.count('a')}|{owner.strip('my')}",
        lambda: "".join(sorted(owner)) + base64.b64encode(author.encode()).decode(),
        lambda: owner.removeprefix("team-") + owner.zfill(15) + str(owner.splitlines()) + owner.swapcase(),
    ]


def numbers(run, token):
    number, ttl = run.number, token.ttl_seconds
    return [
        lambda: f"{number / 7} {number / 3:.3f} {number / 3:.5g} {number + 0.5:.2e} {number:,} {ttl:x} {ttl:b} {ttl:#o}",
        lambda: f"{0.1 + 0.2} {1e21 + number} {1 / (number + 1)} {number % 7} {-number % 7} {-number // 7} {divmod(-number, 7)}",
        lambda: f"{number << 5} {number >> 3} {~number} {number ^ ttl} {number & ttl} {number | ttl} {2**100 % (number + 1)}",
        lambda: f"{round(number / 7)} {round(2.5)} {round(-number / 7, 2)} {abs(-number)} {min(ttl, number)} {max([ttl, number])}",
        lambda: f"{math.floor(-number / 7)} {math.ceil(number / 7)} {math.isqrt(number)} {math.gcd(number, ttl)} {math.sqrt(number)}",
        lambda: f"{int('12')} {float('3.5')} {int('-7')} {bool(number)} {float(number)} {10**20 + number}",
        lambda: f"{sum(range(number % 50))} {pow(3, number % 10, 7)} {[10, 9, 1] < [10, 10]} {sorted([10, 9, 1], reverse=True)}",
        lambda: f"{1 < ttl <= 900} {number == float(number)} {hash('a') == hash('a')} {-3 % 5} {-3.5 % 5}",
    ]


def lists(run, token):
    parents = run.building_block.parents
    first, *rest = token.audiences
    counted = collections.Counter(audience.split(":")[0] for audience in token.audiences)
    made = [Word(word, len(word)) for word in ("b", "a")]
    return [
        lambda: ",".join(f"{at}{parent.definition[:4]}" for at, parent in enumerate(parents, 1)),
        lambda: f"{first} {len(rest)} {[one**2 for one in range(4) if one != 2]} {dict(zip('ab', (1, 2)))}",
        lambda: f"{sorted(counted.items())} {sorted({'z', 'a', 'm'})} {list(itertools.chain([1], [2, 3]))}",
        lambda: f"{sorted([(1, 'b'), (1, 'a'), (0, 'c')], key=lambda pair: pair[0])} {[1, 2, 3][::-1]} {[0] * 3} {(1,) + (2,)}",
        lambda: f"{functools.reduce(lambda one, other: one * other, range(1, 6))} {any([]) or all([])} {list(map(str, [1, 2]))}",
        lambda: f"{made} {made[0] == Word('b', 1)} {made[0].loud()} {max(made, key=lambda word: word.text).text}",
        lambda: f"{[*CEILINGS]} {CEILINGS.get('none', 7)} {({**CEILINGS, 'more': 1})} {list(filter(None, [0, 1, '', 'a']))}",
        lambda: f"{tried(run.behavior)} {[one for one in (1, 2) for _ in range(one)]} {'a' if parents else 'b'}",
        lambda: f"{[1, 2] + [3]} {len({1, 1, 2})} {set('ab') & set('bc')} {frozenset([1]) == {1}} {'x' not in CEILINGS}",
    ]


def tried(behavior):
    told = []
    for work in (lambda: CEILINGS[behavior + "s"], lambda: [][1], lambda: int(behavior), lambda: 1 // 0, lambda: None.a):
        try:
            work()
        except (KeyError, IndexError) as error:
            told.append(f"{type(error).__name__} {error}")
        except Exception as error:
            told.append(type(error).__name__)
        finally:
            told.append("-")
    return told


def dates(run, token):
    when = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=token.issued_at)
    berlin = datetime.datetime(2026, 3, 29, 1, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    return [
        lambda: f"{when.isoformat()} {when.weekday()} {when.hour} {when.date()} {when.strftime('%Y-%m-%d %H:%M:%S')}",
        lambda: f"{berlin.isoformat()} {berlin - when} {when + datetime.timedelta(days=1, hours=2)} {when.timestamp()}",
        lambda: f"{datetime.date(2026, 3, 1) - datetime.timedelta(days=1)} {when.replace(hour=0) < when} {when.year % 4}",
    ]


def evaluate(settings, run, token):
    owner = run.building_block.workspace
    if token.ttl_seconds == 901:
        return permit(max_ttl=CEILINGS[run.behavior], claims={"team": owner.split("-")[0]})
    if token.ttl_seconds == 1801:
        return restrict(audiences=[audience for audience in token.audiences if not audience.startswith("https:")])
    if token.ttl_seconds == 599:
        return abstain() if run.trigger.author_kind == "user" else deny("kind", run.trigger.author_kind)
    told = texts(run, token) + numbers(run, token) + lists(run, token) + dates(run, token)
    # Which of them is told turns with the number of the run.
    at = run.number % len(told)
    return deny("told", f"{at} {told[at]()}")
