"""Whether text between single asterisks or underscores is acted or stressed. The rules stand in ``speech_text``."""

import re

from greenroom.pipeline.abbreviations import words
from greenroom.pipeline.marks import CLOSERS, OPENERS, SOFT, SOFT_SPACED, TERMINAL

_BREAKS = frozenset(TERMINAL + SOFT + SOFT_SPACED + CLOSERS + OPENERS) - frozenset("`~'’")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_QUOTES = tuple("\"'“”„«»‘’「」『』")
_ENDING = frozenset(",.!?…:;" + SOFT)

_STAGE_WORDS = words(
    """sighs sigh laughs laugh giggles giggle smiles smile grins grin chuckles chuckle nods nod waves wave blushes
    blush winks wink gasps gasp shrugs shrug pouts pout bows bow sobs sob cries whispers whisper yawns yawn
    smirks smirk frowns frown hugs hug pauses pause coughs cough gulps gulp snorts snort hums hum squeals blinks
    blink claps clap cheers purrs purr growls growl snickers snicker groans groan winces shivers trembles beams
    leans looks stares glances tilts lacht lächelt seufzt grinst kichert nickt winkt zwinkert soupire sourit rit
    rougit ríe sonríe suspira ride sorride sospira sorri suspira acena вздыхает смеётся улыбается кивает"""
)
_STRESSED = words(
    """not so very really too the a an this that these those my your our any all much more most only never always
    every no just even i you we they he she it is are was were do does did don't can can't will won't would
    could should must and or but if what why how who nicht sehr so zu die der das ein eine nie immer kein keine
    ich du wir pas très trop le la les un une jamais toujours je tu no muy el los las nunca siempre yo non molto
    il lo mai sempre não muito o os nunca sempre не очень"""
)


def is_emote(inner: str, before: str, after: str) -> bool:
    """:param before: the text of the same sentence up to the opening mark, ``after``: from behind the closing one."""
    word = _WORD.search(inner)
    if word is None:
        return False
    if before.endswith(_QUOTES) and after.startswith(_QUOTES):
        return False
    first, single = word[0], len(inner.split()) == 1
    low, capital = first.lower(), first[0].isupper()
    if low in _STAGE_WORDS:
        return not (single and _within(before) and low + "s" in _STAGE_WORDS)
    if _within(before):
        return not (single or capital or low in _STRESSED or word.start() > 0)
    goes_on = after.lstrip(" ")[:1].islower()
    if not single:
        return not (low in _STRESSED and goes_on)
    if low in _STRESSED:
        return False
    if inner[-1] in _ENDING or after[:1] in _ENDING:
        return low.endswith("s") and not capital
    return not (capital and goes_on)


def _within(before: str) -> bool:
    """Whether a sentence or clause is under way there."""
    stripped = before.rstrip()
    return bool(stripped) and stripped[-1] not in _BREAKS
