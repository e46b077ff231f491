// Front door of mizzen::http: HTTP/1.1 client and server on Boost.Asio, with TLS.
#pragma once

#include <mizzen/http/client.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/http/retry.hpp>
#include <mizzen/http/server.hpp>
#include <mizzen/http/status.hpp>
#include <mizzen/http/stream.hpp>
#include <mizzen/http/tls.hpp>
#include <mizzen/http/transfer.hpp>
#include <mizzen/http/websocket.hpp>
