"""An HTTP server for the models CodeUp makes, in the protocol of OpenAI's chat and completions endpoints.

    bytes --guard.py--> JSON --requests.py--> what is asked --voices.py--> token ids --desk.py--> an engine's thread
    client <--replies.py-- pieces <--------------------------------------------------------------'

What a request names and the server does not honour is refused with the field's name, never ignored. `app.py` holds the
routes, `running.py` binds the port and lives until it is stopped. docs/serving.md says what is promised.
Not covered: TLS (a proxy in front does that), users and quotas, several machines.
"""
