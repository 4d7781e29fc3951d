"""The report of a check and its renderings: text, Markdown, HTML and JSON, read back and compared."""
