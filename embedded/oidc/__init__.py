"""The sign-in provider of the embedded profile: OpenID Connect, authorization code with PKCE, three demo people.

The desk talks to it exactly as to any other provider, over HTTP and by discovery. It keeps no browser session: every
sign-in asks for the password, so signing out of the desk is signing out.
"""
