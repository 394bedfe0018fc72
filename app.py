"""SinkScope: attention sinks in diffusion language models. Run with `streamlit run app.py`.

This file is executed in three ways, told apart by its name: the server imports it as `app` and serves the application
it defines; for every visitor it is the script, `__main__`; worker processes execute it as they start, to no effect.
"""

import contextlib
from collections.abc import AsyncIterator

import streamlit as st


@contextlib.asynccontextmanager
async def lifespan(server: st.App) -> AsyncIterator[None]:
    """Start the engine with the server, so that its queue runs, and load the first page's libraries."""
    from pages.parts import door
    from pages.parts.session import start_engine
    from pages.parts.warming import warm_up

    start_engine()
    warm_up()
    for address in door.addresses():
        print(f"SinkScope is at {address}", flush=True)
    yield


if __name__ == "__main__":
    from pages.parts.frame import show

    show()
elif __name__ == "app":
    from pages.parts import guards, moved, plotly_script

    routes = [*moved.routes(), *plotly_script.routes()]
    app = st.App(__file__, lifespan=lifespan, routes=routes, middleware=guards.middleware())
