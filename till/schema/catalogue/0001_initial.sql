-- The version that all rows together are; no row: nothing has been fetched yet.
CREATE TABLE version (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL
) STRICT;

-- `article` is the canonical JSON of the article.
CREATE TABLE article (
    article_id TEXT PRIMARY KEY,
    article BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- GTINs in their 14-digit form. Two articles may share one (a code that was given twice): the lower id answers.
CREATE TABLE gtin (
    gtin14 TEXT NOT NULL,
    article_id TEXT NOT NULL,
    PRIMARY KEY (gtin14, article_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX gtin_article ON gtin (article_id);
