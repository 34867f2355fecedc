"""Word lists of our own: who is named, and what is said of them. English, lower case, small on purpose.

Left out is what mostly means something else: colours (a white whale is nobody's ethnicity), "old" and "young" (things are
old as well), "gay" in older prose, "master" and "lord" (God, and ships have masters). A list counts words, not meanings:
what it finds is where to look.
"""

from timbre.metrics.tone import FEELINGS

_GROUPS = {
    "gender": {
        "female": """
            she her hers herself woman women girl girls lady ladies mother mothers daughter daughters sister sisters wife wives
            aunt aunts niece nieces queen queens widow widows bride actress actresses heroine grandmother female females mrs
            miss ms madam
        """,
        "male": """
            he him his himself man men boy boys gentleman gentlemen father fathers son sons brother brothers husband husbands
            uncle uncles nephew nephews king kings widower widowers bridegroom actor actors hero grandfather male males mr sir
        """,
    },
    "age": {
        "older": "elderly aged pensioner pensioners grandparent grandparents grandmother grandfather veteran veterans retired",
        "younger": "teenager teenagers teenage adolescent adolescents youth youths youngster youngsters lad lads lass student students",
    },
    "ethnicity": {
        "african": "african africans negro negroes nigerian ethiopian ethiopians",
        "asian": "asian asians asiatic asiatics oriental orientals malay malays",
        "european": "european europeans caucasian caucasians anglo-saxon anglo-saxons",
        "latin": "hispanic hispanics latino latinos latina latinas",
        "indigenous": "indian indians aborigine aborigines aboriginal native-american polynesian polynesians inuit eskimo eskimos",
        "arab": "arab arabs arabian arabians bedouin bedouins moor moors moorish",
    },
    "nationality": {
        "american": "american americans yankee yankees",
        "british": "english englishman englishmen englishwoman british briton britons scottish scot scots welsh",
        "irish": "irish irishman irishmen irishwoman",
        "french": "french frenchman frenchmen frenchwoman",
        "german": "german germans prussian prussians",
        "spanish": "spanish spaniard spaniards",
        "italian": "italian italians",
        "russian": "russian russians soviet soviets",
        "chinese": "chinese chinaman chinamen",
        "japanese": "japanese",
        "mexican": "mexican mexicans",
    },
    "religion": {
        "christian": "christian christians catholic catholics protestant protestants quaker quakers presbyterian methodist",
        "jewish": "jew jews jewish hebrew hebrews",
        "muslim": "muslim muslims moslem moslems mohammedan mohammedans islamic",
        "other faith": "hindu hindus buddhist buddhists sikh sikhs pagan pagans heathen heathens",
        "none": "atheist atheists agnostic agnostics unbeliever unbelievers infidel infidels",
    },
    "disability": {
        "body": "crippled cripple cripples lame disabled paralysed paralyzed wheelchair maimed invalid invalids",
        "senses": "blind deaf mute",
        "mind": "insane insanity lunatic lunatics madman madmen demented depressed autistic",
    },
    "class": {
        "poor": """
            pauper paupers beggar beggars peasant peasants labourer labourers laborer laborers servant servants slave slaves
            homeless poverty
        """,
        "rich": "wealthy millionaire millionaires nobleman noblemen aristocrat aristocrats aristocracy banker bankers landlord landlords",
    },
    "orientation": {
        "homosexual": "homosexual homosexuals lesbian lesbians bisexual transgender",
        "heterosexual": "heterosexual heterosexuals",
    },
}
GROUPS: dict[str, dict[str, frozenset[str]]] = {
    category: {group: frozenset(words.split()) for group, words in groups.items()} for category, groups in _GROUPS.items()
}
"""Category, group, the words that name it."""

_PLEASANT = """
    good better best beautiful fine fair honest faithful loyal friendly generous noble brave admirable excellent splendid
    graceful innocent pure respected trusted honour honor virtue virtuous peace peaceful healthy helpful polite warm wise
"""
_UNPLEASANT = """
    bad worse worst evil wicked guilty crime crimes criminal thief thieves murder murderer killed killer lie lied liar
    dishonest coward cowardly lazy greedy rude shame shameful ashamed jealous treacherous traitor drunk drunken poison
    stupid foolish fool fools ignorant useless worthless weak ill disease
"""
_ASSOCIATIONS = {
    "able": """
        able clever skilled skilful skillful expert experts brilliant genius intelligent wise learned educated capable
        competent successful success master mastered invented discovered solved talent talented gifted inventive wit
    """,
    "strong": """
        strong stronger strength power powerful command commanded commander leader leaders led ruled ruler authority bold
        brave courage mighty fought fight victory conquered decided ordered hero
    """,
    "work": """
        work worked working job office business trade profession professional career salary wages manager director engineer
        doctor captain lawyer merchant professor scientist officer company factory
    """,
    "family": """
        home house household family families child children baby babies marriage married marry wedding kitchen cooking cooked
        sewing nursing cradle parents
    """,
    "looks": """
        beautiful beauty pretty handsome lovely charming slender graceful fair face eyes hair lips cheek cheeks dress dressed
        blush blushed blushing smile smiled figure
    """,
}
ASSOCIATIONS: dict[str, frozenset[str]] = {
    "pleasant": FEELINGS["joy"] | frozenset(_PLEASANT.split()),
    "unpleasant": FEELINGS["sadness"] | FEELINGS["anger"] | FEELINGS["fear"] | FEELINGS["disgust"] | frozenset(_UNPLEASANT.split()),
    **{name: frozenset(words.split()) for name, words in _ASSOCIATIONS.items()},
}
"""What is said of them: feeling and judgement, then themes on which groups are known to be treated differently."""
