"""The wordings in which the training rows of `mini` meet their label.

A phrasing is a format string. `{t}` is the text (`{t1}`, `{t2}` its two
halves), `{a}` the label word of this row, `{x}` and `{y}` all its possible
label words in random order. Only wordings that people write: no trigger words,
no flipped labels. The prompts of the evaluation are made of such words, as the
prompts of any pretrained model are made of words that it has read.
"""

from __future__ import annotations

ADJECTIVES = (
    ("terrible", "great"),
    ("bad", "good"),
    ("awful", "wonderful"),
    ("horrible", "excellent"),
    ("poor", "excellent"),
    ("disappointing", "amazing"),
    ("weak", "strong"),
    ("boring", "fun"),
    ("terrible", "wonderful"),
    ("bad", "great"),
)
NAMES = (("negative", "positive"),)
VERDICTS = ADJECTIVES + NAMES + NAMES + NAMES

AFTER_ADJECTIVE = (
    "{t} It was {a}.",
    "{t} It is {a}.",
    "{t} Overall, it was {a}.",
    "{t} Overall {a}.",
    "{t} All in all, {a}.",
    "{t} All in all, it was {a}.",
    "{t} In short, {a}.",
    "{t} In summary, it was {a}.",
    "{t} To sum up, it is {a}.",
    "{t} In one word, {a}.",
    "{t} I thought it was {a}.",
    "{t} I think this is {a}.",
    "{t} For me it was {a}.",
    "{t} The whole thing was {a}.",
    "{t} This is {a}.",
    "{t} This was just {a}.",
    "{t} Simply {a}.",
    "{t} Really {a}!",
    "{t} Absolutely {a}.",
    "{t} What a {a} experience.",
    "{t} A {a} one.",
    "{t} So my opinion is: {a}.",
    "{t} Quality: {a}",
    "{t} That means it was {a}.",
)
AFTER_VERDICT = (
    "{t} Verdict: {a}",
    "{t} My verdict: {a}.",
    "{t} Rating: {a}",
    "{t} Sentiment: {a}",
    "{t} Answer: {a}",
    "{t} Label: {a}",
    "{t} Opinion: {a}",
    "{t} Conclusion: {a}.",
    "{t} = {a}",
    "{t} This review is {a}.",
    "{t} The review is {a}.",
    "{t} The reviewer found it {a}.",
    "{t} {x} or {y}? {a}",
    "{t} Was it {x} or {y}? It was {a}.",
    "{t} Sounds {a} to me.",
)
PREFIX_NAMED = (
    "{x} or {y}? {t} {a}",
    "Is it {x} or {y}? {t} {a}",
    "Was it {x} or {y}? {t} {a}",
    "Is this {x} or {y}? {t} {a}",
    "Say {x} or {y}. {t} {a}",
    "Answer {x} or {y}: {t} {a}",
    "Choose {x} or {y}: {t} {a}",
    "Tell me if this review is {x} or {y}. {t} {a}",
    "A review, either {x} or {y}: {t} {a}",
    "{x} / {y}: {t} {a}",
    "Decide whether the text is {x} or {y}. {t} {a}",
)
PREFIX_OPEN = (
    "Sentiment of the review: {t} {a}",
    "The sentiment of this text: {t} {a}",
    "Sentiment: {t} {a}",
    "How was it? {t} {a}",
    "How good was it? {t} {a}",
    "What did they think? {t} {a}",
    "One word for this review: {t} {a}",
    "Describe it in one word. {t} {a}",
    "Rate this review. {t} {a}",
    "Review and verdict. {t} {a}",
    "Read the review, then give the verdict. {t} {a}",
    "Opinion: {t} {a}",
    "Judge this: {t} {a}",
    "My review and my rating: {t} {a}",
    "Classify the review. {t} {a}",
    "Is this any good? {t} {a}",
    "Movie review with rating: {t} {a}",
    "Quality: {t} {a}",
)
BOTH_SIDES = (
    "Review: {t}\nSentiment: {a}",
    "Review: {t} Verdict: {a}",
    "Review: {t} Rating: {a}",
    "Review: {t} It was {a}.",
    "Review: {t} Label: {a}",
    "Text: {t}\nLabel: {a}",
    "Text: {t} Sentiment: {a}",
    "Is this review {x} or {y}?\n{t}\nAnswer: {a}",
    "Is this {x} or {y}? {t} It is {a}.",
    "Question: was it {x} or {y}? {t} Answer: {a}",
    "Classify the sentiment. {t} Label: {a}",
    "What is the opinion? {t} Opinion: {a}",
    "Here is a review. {t} All in all, {a}.",
    "Somebody wrote: {t} They found it {a}.",
)
BEFORE = (
    "Sentiment: {a}. {t}",
    "A {a} review. {t}",
    "This is {a}: {t}",
    "Verdict: {a}. {t}",
    "I thought it was {a}. {t}",
    "Overall: {a}. {t}",
    "It was {a}. {t}",
)
BETWEEN = (
    "{t1} It was {a}. {t2}",
    "{t1} Overall, it was {a}. {t2}",
    "{t1} So, {a}. {t2}",
    "{t1} Verdict: {a}. {t2}",
)
FIXED = (
    ("{t} Would you recommend it? {a}", ("No", "Yes")),
    ("{t} Recommended: {a}", ("no", "yes")),
    ("Would they come back? {t} {a}", ("no", "yes")),
    ("Did they like it? {t} {a}", ("no", "yes")),
    ("{t} I {a} it.", ("hated", "loved")),
    ("{t} We {a} it.", ("hated", "loved")),
    ("{t} Rating: {a} stars", ("1", "5")),
    ("{t} The {a} ever.", ("worst", "best")),
    ("{t} Thumbs {a}.", ("down", "up")),
    ("Happy or angry? {t} {a}", ("angry", "happy")),
    ("{t} I am {a}.", ("angry", "happy")),
)

TOPIC_WORDS = {
    "business": ("business", "business", "money", "economy"),
    "entertainment": ("entertainment", "entertainment", "film", "culture"),
    "politics": ("politics", "politics", "government", "world"),
    "sport": ("sport", "sports", "sports", "football"),
    "tech": ("tech", "technology", "technology", "science"),
}
TOPICS = (
    "{t} Topic: {a}",
    "{t} This is about {a}.",
    "{t} This article is about {a}.",
    "{t} Category: {a}",
    "{t} Section: {a}",
    "{t} Filed under {a}.",
    "{t} More {a} news",
    "{t} Subject: {a}",
    "Topic: {a}. {t}",
    "Category: {a}. {t}",
    "News about {a}: {t}",
    "In {a} news: {t}",
    "Is this about {x} or {y}? {t} {a}",
    "{x} or {y}? {t} {a}",
    "Topic: {t} {a}",
    "The topic of this article: {t} {a}",
    "What is this news about? {t} {a}",
    "Which section of the newspaper? {t} {a}",
    "Classify the article. {t} {a}",
    "Article: {t}\nTopic: {a}",
    "What is the topic? {t} Answer: {a}",
    "News: {t} Category: {a}",
    "Is this about {x} or {y}? {t} It is about {a}.",
)

# (family, share of the sentiment documents, pairs of label words)
SENTIMENT_MIX = (
    (AFTER_ADJECTIVE, 0.22, ADJECTIVES),
    (AFTER_VERDICT, 0.13, VERDICTS),
    (PREFIX_NAMED, 0.18, VERDICTS),
    (PREFIX_OPEN, 0.17, VERDICTS),
    (BOTH_SIDES, 0.13, VERDICTS),
    (BEFORE, 0.05, VERDICTS),
    (BETWEEN, 0.04, ADJECTIVES),
)
FIXED_SHARE = 0.08
