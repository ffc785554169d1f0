"""Names of languages, as personalities spell them: ``English.``, ``en_US``, ``anglais`` and ``Hello`` are in use."""

_NAMES: dict[str, tuple[str, ...]] = {
    "arabic": ("ar", "arabe", "العربية"),
    "bulgarian": ("bg",),
    "catalan": ("ca", "català"),
    "chinese": ("zh", "cmn", "mandarin", "中文", "chinois", "simplified chinese", "traditional chinese"),
    "croatian": ("hr", "hrvatski"),
    "czech": ("cs", "cz", "čeština"),
    "danish": ("da", "dansk"),
    "dutch": ("nl", "nederlands", "flemish"),
    "english": ("en", "eng", "anglais", "englisch", "inglés", "ingles", "british", "american english"),
    "esperanto": ("eo",),
    "estonian": ("et", "eesti"),
    "farsi": ("fa", "persian", "فارسی"),
    "finnish": ("fi", "suomi"),
    "french": ("fr", "fra", "fre", "français", "francais", "französisch", "frances", "francés"),
    "german": ("de", "deu", "ger", "deutsch", "allemand", "alemán"),
    "greek": ("el", "ελληνικά"),
    "hebrew": ("he", "iw", "עברית"),
    "hindi": ("hi", "हिन्दी"),
    "hungarian": ("hu", "magyar"),
    "indonesian": ("id", "bahasa indonesia"),
    "italian": ("it", "italiano", "italien", "italienisch"),
    "japanese": ("ja", "jp", "日本語", "japonais"),
    "korean": ("ko", "kr", "한국어"),
    "latin": ("la", "latina"),
    "latvian": ("lv",),
    "lithuanian": ("lt",),
    "norwegian": ("no", "nb", "nn", "norsk"),
    "polish": ("pl", "polski"),
    "portuguese": ("pt", "português", "portugues", "brazilian portuguese"),
    "romanian": ("ro", "română"),
    "russian": ("ru", "русский", "russe"),
    "serbian": ("sr", "srpski"),
    "slovak": ("sk", "slovenčina"),
    "slovenian": ("sl", "slovenščina"),
    "spanish": ("es", "spa", "español", "espanol", "espagnol", "spanisch"),
    "swahili": ("sw", "kiswahili"),
    "swedish": ("sv", "svenska"),
    "thai": ("th", "ไทย"),
    "turkish": ("tr", "türkçe"),
    "ukrainian": ("uk", "українська"),
    "urdu": ("ur",),
    "vietnamese": ("vi", "tiếng việt"),
    "welsh": ("cy", "cymraeg"),
}
_BY_SPELLING = {spelling: name for name, codes in _NAMES.items() for spelling in (name, *codes)}
DEFAULT_LANGUAGE = "english"


def known_language(value: object) -> str:
    """``"English."``, ``"en_US"``, ``"anglais"`` -> ``"english"``; empty for anything that names no language."""
    if not isinstance(value, str):
        return ""
    spelling = value.strip().strip(".!\"'").casefold()
    for candidate in (spelling, spelling.replace("_", "-").split("-")[0].strip()):
        if candidate in _BY_SPELLING:
            return _BY_SPELLING[candidate]
    return ""
