import pytest
from access_rig import OTHER, SECOND, TOKEN, Rig, client, config


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    await rig.apply(config(node=client(TOKEN, SECOND), other=client(OTHER, scopes=())))
    await rig.authenticator.start()
    yield rig
    await rig.authenticator.stop()
