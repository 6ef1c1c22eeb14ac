"""Words by which prose says what a number in it is: a result, a try, a doubt, a denial, a second look.

Each is a pattern over the words in front of a number, behind it, or at the head of a sentence.
"""

import re

_I = re.IGNORECASE
_NOT = r"(?:not\b|n['\u2019]t\b|never\b|cannot\b)"

SIGN = r"(?<![<>!:=\u2260])=+|[\u2248\u2192]|\\approx\b|\\Rightarrow\b|(?<!\d):(?=[\s*$\\]|$)"
"""A sign in front of a result."""
VERB = (
    r"\b(?:is|are|was|were|be|been|equals?|gets?|got|gives?|giving|have|has|had|yields?|makes?|making|made|becomes?|"
    r"remains?|leaves?|leaving|left|total(?:s|led|ling)?|comes?|amounts?|sums?|adds?|down to|up to|needs?|costs?|"
    r"spends?|spent|earns?|earned|pays?|paid|takes?|took|finds?|found|obtains?|obtained|produces?|sold|"
    r"so|therefore|thus|hence|yes|no)\b"
)
"""A word in front of a result."""
FILLER_WORDS = (
    r"a|an|the|of|to|out|up|with|be|been|have|had|same|answer|total|only|exactly|just|about|approximately|roughly|around|"
    r"equal|equals|now|simply|indeed|still|least|most|at|another|all|in|him|her|them|me|us|you|it|really|again|also"
)
FILLER = rf"(?:[\s,:*$(\[{{~&]|\\[(\[,!;]|\\\$|\b(?:{FILLER_WORDS})\b)*"
"""What may stand between either of them and the result."""
UNIT = (
    r"(?:\\%|[\s%\u00b0$'\u2019)\]}]|\\[)\],!;]|\\text\{[^{}]{0,40}\})*"
    r"(?:[A-Za-z][A-Za-z'\u2019-]*[./]?[ ]?){0,3}?[\s)]*"
)
"""What may stand between a number and the operator behind it: `20 sheep + 160`."""
OPERATOR = (
    r"(?:[-+\u2212\u2013/\u00f7\u00d7\u00b7^]\s*[\d$.(\\]|\*\s*[\d$(.]|x\s*[\d$(.]|\\(?:times|cdot|div)\b|"
    r"(?:times|plus|minus|divided|multiplied)\b)"
)
FACTOR = (
    r"(?:[a-fi-jln-rt-z](?![A-Za-z])(?!\s*\d)|[A-Z]\b|\(|\\(?:sqrt|pi|frac)\b|\\?%\s+of\s+(?:the\s+)?\$?\d"
    r"|\s?:\s?\d|(?:,\s*[^\s,]{1,20}){1,5}[)\]}])"
)
"""What, right behind a number, makes it part of an expression: `2x`, `2(40+9)`, `20% of 25`, `3:4`, `2, 5)`.
`5m` has a unit."""

TRY = re.compile(
    r"""(?:\W|\b(?:so|but|and|or|now|hmm|okay|ok|well|then|first|also|wait|no|yes|actually|perhaps|maybe)\b)*(?:
      (?:suppos|assum|imagin|pretend|guess)\w*\b | what\ if\b | (?:say|try|trying|test|testing|take)\b
    | let(?!\s+(?:me|us)\b|['\u2019]s\b)\b
    | let(?:\s+me|\s+us|['\u2019]s)\s+(?:suppose|assume|imagine|pretend|say|try|test|take|guess|plug|set)\b
    | (?:if|for|when|with|at|where|taking|setting|plugging\ in|substituting)\b\W+(?:
          [A-Za-z](?:_\w+|\(\w+\))?\s*(?:=|is\b|were\b|was\b|equals?\b)
        | (?:we|I)\s+(?:try|take|set|let|pick|guess|assume|suppose|choose|put|plug)\b
        | (?:the|my|this|that)\ (?:answer|guess|result|total)\b | it\ (?:is|was|were)\b ))""",
    _I | re.VERBOSE,
)
"""The head of a sentence that supposes something: `Suppose it is 6`, `If n = 2`, `Let x be`. Not `Let me add`."""
OF_A_TRY = re.compile(r"\W*(?:then|in that case|(?:that|this|it|which) (?:would|gives|is|equals|yields))\b", _I)
"""The head of a sentence that says what comes of the supposition right before it."""
THEN = re.compile(r"\W*(?:and |so )?then\b", _I)
"""The head of one that goes on with that."""
NEVER = re.compile(r"(?!)")
HEDGE = re.compile(
    r"""\b(?: if|whether|unless|suppos\w+|assum\w+|imagin\w+|pretend|maybe|perhaps|probably|possibly|presumably|likely
    | (?:my|a|first|wild)(?:\ \w+)?\ guess|guessing|hunch|hint(?:s|ed)?|feeling|tempt\w+|wonder\w*|recall|remember
    | first\ glance|looks?\ like
    | (?:might|(?-i:may)|could)(?:\ \w+)?\ (?:be|equal|get|come|have\ been|turn)
    | (?:seems?|feels?)\ like|I(?:['\u2019]d|\ would|\ do)?\ (?:expect|suspect|bet|hope|doubt|say|guess)
    | instead\ of|rather\ than|unlike|such\ as|somewhere|close\ to|ballpark )\b""",
    _I | re.VERBOSE,
)
"""Words in front of a number, in its clause, with which it is no claim."""
DENIED_BEFORE = re.compile(
    rf"(?:{_NOT}|\b(?:nor|neither|no longer|different from|other than)\b)(?:\W+[a-z]+){{0,4}}\W*$", _I
)
DENIED_BEHIND = re.compile(
    r"[\s*$)\\\]]*(?:\w+\s+)?(?:(?:is|was|can?|could|would|must be|has to be|looks|seems|feels)"
    rf"\s*(?:{_NOT}|wrong|incorrect|too\b|impossible|out\b|off\b|ruled)|cannot\b|\?)",
    _I,
)
RETRACTS = re.compile(
    r"""\W*(?:(?:but|oh|ah|hmm+|wait|no|hold\ on|actually|sorry|oops|hang\ on|well)\W+)*(?:
      (?:that|this|it)(?:\ is|\ was|['\u2019]s)\ (?:(?:all|just|clearly|obviously)\ )?
        (?:wrong|incorrect|mistaken|a\ mistake|off|not\ (?:right|correct|true|it|possible|what)\b)
    | (?:that|this|it)(?:\ (?:is|was|ca|does)n['\u2019]t|\ cannot|\ can\ not)\ 
        (?:be\b|right|correct|true|it\b|work|fit|make\ sense)
    | I(?:['\u2019]ve|\ have)?\ (?:\w+\ )?
        (?:slipped|miscalculated|misread|forgot|erred|messed|made\ (?:a|an)\ |mixed|miscounted)
    | scratch\ that | never\ mind )""",
    _I | re.VERBOSE,
)
"""The head of a sentence that takes the one before it back."""
CONCLUDES = re.compile(
    r"\b(?:so|thus|therefore|hence|answer|total|altogether|finally|result|yes|no|conclu\w+|overall|means|final|equals|"
    r"gives|plus|minus|times|divided)\b|=",
    _I,
)
"""A sentence that concludes or computes."""
ANSWER = re.compile(r"\b(?:answer|final result|conclude)\b[^.]{0,40}$", _I)
"""In front of a number: it is the answer, whatever the thinking goes on with."""
STOCK = re.compile(
    r"\b(?:so|thus|therefore|hence|yes|no|the|an?|answer|result|total|final|is|are|was|that|this|it|gives?|makes?|equals?|"
    r"get|we|i|have|again|then|time|indeed|and|of|to)\b|[^A-Za-z\s]",
    _I,
)
"""What a sentence that only names a number consists of: `So the answer is 7.`"""

_VERIFY = (
    r"(?:(?:double|re|cross|sanity)[-\s]?)?(?:check|verify|confirm|examine|trace|make\ssure|redo|review|recap|recompute|"
    r"recalculate|recount|reconsider|rethink|re-?read|go\s(?:over|through|back|again)|(?:run|walk|step|work)\sthrough|"
    r"look\s(?:again|back)|see\s(?:if|whether)|be\s(?:sure|careful|safe|certain)|"
    r"do\s(?:it|that|this)\s(?:again|once\smore|another)|try\s(?:it|another)|think\sagain)"
)
SECOND_LOOK = re.compile(
    rf"""\b(?:let\ me|let\ us|let['\u2019]s|I(?:['\u2019]ll|\ will|\ should|\ want\ to|\ need\ to|\ can|\ must)
      |I['\u2019]d\ better|we\ (?:can|should|could))\s+(?:\w+\s+){{0,2}}?{_VERIFY}\b
    | ^(?:\W|\b(?:wait|okay|ok|so|now|hmm+|but|well|alright|and|yes|just)\b)*(?:(?:to\s+(?:\w+\s+)?)?{_VERIFY}
      |(?:double[-\s]|re-?)?(?:checking|verifying|verification)|alternatively|another\ way|going\ (?:over|through|back)
      |redoing|retracing|reviewing|looking\ back|once\ more|one\ more\ time|again|to\ be|in\ reverse
      |(?:working\ )?backwards?)\b
    | \b(?:is|are|was|did)\ (?:it|that|this|I|everything|all)\b[^.]{{0,40}}\b(?:right|correct|so|sure)\b
    | \bdoes\ (?:that|this|it)\b | \b(?:another|a\ different|a\ second)\ (?:way|approach|method|look|angle|pass)\b""",
    _I | re.VERBOSE,
)
"""The head of a sentence with which the thinking begins again."""
STUMBLE = re.compile(r"\W*(?:(?:but|oh|ah)\W+)?(?:wait|hmm+|hold on|hang on|actually|oops|no,)", _I)
"""The head of a sentence that may begin again or go on."""
