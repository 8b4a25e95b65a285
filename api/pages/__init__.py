"""The web pages: what people see of the API, in a browser.

A page asks the API in this process (contract.py), so it shows what a client would get, by the same
rules and with the same rights. It must never read a store by itself, nor decide a state or a cause.
docs/pages.md has the visual language.
"""
