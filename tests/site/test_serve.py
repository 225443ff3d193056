"""The local server: files below a prefix, the policy on every answer."""

import urllib.error
import urllib.request

import pytest

from lib.site import serve


@pytest.fixture
def address(tmp_path):
    (tmp_path / "index.html").write_text("first page")
    server, address = serve.start(tmp_path, prefix="/books/x/")
    yield address
    server.shutdown()
    server.server_close()


def test_pages_carry_the_policy(address):
    with urllib.request.urlopen(address + "index.html") as answer:
        assert answer.read() == b"first page"
        assert answer.headers["Content-Security-Policy"] == serve.POLICY


def test_the_policy_allows_nothing_from_outside():
    assert serve.POLICY.startswith("default-src 'none'")
    assert "http" not in serve.POLICY
    assert "unsafe-eval" not in serve.POLICY
    assert "wasm" not in serve.POLICY


def test_outside_the_prefix_there_is_nothing(address):
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(address.replace("/books/x/", "/elsewhere/"))
    caught.value.close()


def test_the_bare_address_leads_to_the_site(address):
    with urllib.request.urlopen(address.replace("books/x/", "")) as answer:
        assert answer.url == address
