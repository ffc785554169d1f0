"""Words that take a dot without ending a sentence, by what must follow for the dot to end one after all.

English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Czech, Scandinavian, Turkish, Russian, Greek,
Hindi. All in lower case; a dotted one keeps its inner dots and loses the last.
"""


def words(table: str) -> frozenset[str]:
    return frozenset(table.split())


TITLES = words(
    """mr mrs ms mx messrs dr prof rev hon capt cpt col gen lt ltn sgt cpl maj cmdr adm pres gov sen rep supt insp
    det fr hr frl hrn mag dipl dipl.-ing univ.-prof priv.-doz m mm mme mmes mlle mlles pr ste mgr sra sres sras
    srta srtas dra dras lic ing arq gral cnel cap tte dña sig sig.ra sig.na sigg dott dott.ssa prof.ssa avv arch
    geom rag mons exmo exma ilmo ilma profa eng ee sn av dhr mevr drs św"""
)
"""Before a name, and with a capital (the small word may end a sentence): never the end"""

NEVER = words(
    """mr mrs dr prof e.g i.e eg ie vs cf viz approx esp incl excl resp bzw z.b z.bsp d.h u.a u.ä o.ä s.o s.u i.d.r
    m.e z.t z.zt zzgl inkl exkl ggf evtl bspw vgl sog ca allg bes dt engl frz geb gest betr bzgl p.ex p.ej
    c.-à-d c.à.d c-à-d j.-c éd av p.es aprox pág págs bijv m.b.t d.w.z np tzn tzw ul m.in např tzv t.ex t.o.m
    bl.a dvs f.eks d.v.s örn т.е т.к т.н напр ул им см акад г-н г-жа д-р κ.α π.χ δηλ डॉ डा प्रो पं श्री w.r.t
    a.k.a"""
)
"""Never the end"""

UNLESS_CAPITAL = words(
    """etc usw ecc enz osv itd itp atd apod u.s.w usf vb др пр т.д т.п г гг в вв руб тыс млн млрд стр κ.λπ κτλ dept
    univ assn bldg ft oz lbs lb hrs yrs cm mm km kg mg jahrh jh mio mrd"""
)
"""The end if a capital follows"""

CALENDAR = words(
    """jan feb mar mär apr jun jul aug sep sept oct okt nov dec dez janv févr avr juil août déc ene abr ago dic gen
    mag giu lug ott mon tue tues wed thu thur thurs fri sat sun mo di mi do fr sa so"""
)
"""With a capital: the end if a capital follows"""

BEFORE_NUMBER = words(
    """no nos nr nrs art arts fig figs vol vols pp ch chap sec sect abs núm num op par cap bd kap ziff abb tab
    eq ref tel ext mind max min est env av approx nº rn str abt stk"""
)
"""The end unless a number follows"""

UNLESS_STARTER = words(
    """st ave blvd rd str inc ltd co corp jr sr bros gmbh ph.d m.sc b.sc m.d b.a m.a esq ud uds vd vds avda apt mt
    ft sta cía cia ltda s.a"""
)
"""The end only if the next word is one that starts sentences"""

STREET = "str"
"""German compounds of ``Straße``, like the word itself"""

CLOCK = frozenset({"a.m", "p.m", "am", "pm", "uhr"})
"""The end if a capital follows that is no day, month or time zone"""

LAST_OF_TWO = frozenset(
    [("et", "al"), ("ad", "es"), ("per", "es"), ("p.", "ex"), ("par", "ex"), ("p.", "ej"), ("por", "ej")]
)
"""The word with the dot, with the word before it: never the end before a small letter"""

STARTERS = words(
    """I He She It We You They The This That These Those There Here A An But And So Or If When While What Who How
    Why Where My Your His Her Our Their Its In On At For From To With After Before Then Now Yes No Not Oh Ah
    Well Please Let Do Does Did Is Are Was Were Can Could Will Would Should Have Has As By Because However Maybe
    Perhaps Just Also Still Every Some All Er Sie Es Wir Ihr Ich Du Der Die Das Ein Eine Aber Und Oder Wenn Als
    Dann Jetzt Nun Ja Nein Nicht Wer Wie Wo Warum Mein Meine Dein Sein Seine Hier Dort Da Auch Doch So Im Am Auf
    Mit Nach Bei Zum Für Man Diese Dieser Dieses Il Elle On Nous Vous Ils Elles Je Tu Le La Les Un Une Des Et
    Mais Ou Si Quand Alors Ce Cette Ces Oui Non Qui Que Quoi Comment Pourquoi Où Mon Ma Mes Ton Ta Son Sa Dans
    Sur Avec Pour Puis Ici Él Ella Ellos Ellas Yo Tú Nosotros El Los Las Una Pero Y O Cuando Entonces Este Esta
    Esto Sí Quién Qué Cómo Dónde En Con Para Por Después Luego Aquí Mi Su Lui Lei Noi Voi Loro Io Lo Gli I Uno
    Ma Se Quando Allora Questo Questa Sì Chi Che Come Dove Perché Nel Poi Qui Ele Ela Eles Elas Eu Nós O Os As
    Um Uma Mas E Então Isso Isto Sim Não Quem Depois Aqui Meu Minha Он Она Оно Они Мы Вы Я Ты Это Но А И Если
    Когда Потом Да Нет Кто Что Как Где В На"""
)

DAYS_AND_MONTHS = words(
    """Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August
    September October November December Eastern Pacific Central Mountain"""
)

ORDINAL_CONTEXT = words(
    """am der die das dem den des vom zum zur beim im ab seit bis und ein eine einen einem einer eines jeder jede
    jedes jeden jedem mein meine meinen meinem dein deine sein seine ihr ihre unser unsere kein keine montag
    dienstag mittwoch donnerstag freitag samstag sonntag pos"""
)
"""Words before ``3.`` that make it the German ``third``"""
