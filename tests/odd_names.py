"""Names that a file system allows."""

from hypothesis import strategies as st

NAMES = [
    "line\nbreak",
    "carriage\rreturn",
    "both\r\nof them",
    "comma,and;semicolon",
    'double"quote',
    '"quoted"',
    "single'quote",
    "-dash",
    "--help",
    "=SUM(A1)",
    "NA",
    "null",
    " spaces ",
    "tab\there",
    "back\\slash",
    "ünï 水稻 🌾",
    "not UTF-8 \udcff",
    "\ufeffmark",
    "#hash",
    "$(touch x)",
    "%s%n",
    "0123",
    "1e5",
]
ANY_NAME = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    min_size=1,
)
