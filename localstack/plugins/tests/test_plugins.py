"""Tests that LocalStack finds the plugins, and listens only on the configured address."""

import socket
import unittest
from unittest import mock

import support
from localstack.config import HostAndPort
from localstack.runtime.server.plugins import RuntimeServerPlugin
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.plugins import PLUGIN_NAMESPACE
from plux import PluginManager
from rolo.gateway import Gateway

from host_mode.server import BoundServerPlugin


class Plugins(unittest.TestCase):
    def test_localstack_finds_each_plugin_by_the_name_in_its_settings(self) -> None:
        wanted = {
            RuntimeExecutorPlugin.namespace: ["native"],
            RuntimeServerPlugin.namespace: ["bound"],
            PLUGIN_NAMESPACE: ["dynamodb:moto", "dynamodbstreams:moto"],
        }
        for namespace, names in wanted.items():
            manager = PluginManager(namespace)
            for name in names:
                with self.subTest(name):
                    self.assertTrue(manager.exists(name))
                    self.assertIsNotNone(manager.load(name))


class BoundServer(unittest.TestCase):
    def setUp(self) -> None:
        self.server = BoundServerPlugin().load()

    def listen(self, port: int) -> list[str]:
        """Lets the server listen; returns the addresses it took."""
        from twisted.internet import reactor

        before = set(reactor.getReaders())
        self.server.register(Gateway(), [HostAndPort("127.0.0.1", port)])
        ports = [reader for reader in set(reactor.getReaders()) - before if hasattr(reader, "getHost")]
        for listening in ports:
            self.addCleanup(listening.stopListening)
        return [listening.getHost().host for listening in ports]

    def test_it_listens_on_the_given_interface_only(self) -> None:
        self.assertEqual(self.listen(0), ["127.0.0.1"])

    def test_a_taken_port_ends_the_emulator(self) -> None:
        taken = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        with mock.patch("os._exit") as ended, self.assertLogs("host_mode.server", "ERROR") as logs:
            self.assertEqual(self.listen(taken.getsockname()[1]), [])
        ended.assert_called_once_with(1)
        self.assertIn("Address already in use", logs.output[0])


if __name__ == "__main__":
    unittest.main()
