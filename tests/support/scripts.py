"""The same kind of sentence in many scripts: with and without spaces, with marks, from right to left."""

from __future__ import annotations

import unicodedata

SCRIPTS = {
    "Latin, decomposed": unicodedata.normalize("NFD", "Đầu tiên Ngài là Lời, ở cùng Đức Chúa."),
    "Latin, clicks": "ǃXóõ ǂaa ǁʼaa gǀqhaa",
    "Cyrillic": "В начале было Слово, и Слово было у Бога.",
    "Greek": "Ἐν ἀρχῇ ἦν ὁ λόγος",
    "Hebrew, pointed": "בְּרֵאשִׁית הָיָה הַדָּבָר",
    "Arabic": "فِي الْبَدْءِ كَانَ الْكَلِمَةُ",
    "Devanagari": "आदि में वचन था, और वचन परमेश्वर के साथ था।",
    "Tamil": "ஆதியிலே வார்த்தை இருந்தது",
    "Bengali": "আদিতে বাক্য ছিলেন",
    "Ethiopic": "በመጀመሪያው ቃል ነበረ፥",
    "Thai": "ในปฐมกาลพระวาทะทรงดำรงอยู่",
    "Khmer": "កាលដើមដំបូងមានព្រះបន្ទូល",
    "Burmese": "အစအဦး၌နှုတ်ကပတ်တော်ရှိ၏",
    "Han": "太初有道，道与神同在",
    "Hangul": "태초에 말씀이 계시니라",
    "N'Ko": "ߘߊߡߌߣߊ ߘߐ߫ ߞߎߡߊ",
    "Persian, joiners": "می\u200cخواهم کتاب\u200cها را",
}
