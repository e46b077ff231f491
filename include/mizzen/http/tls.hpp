// What a TLS client or server needs to know.
#pragma once

#include <string>

namespace mizzen::http {

// TLS 1.2 or newer. Each piece of PEM is given inline or as a file, not both; files are read when
// the client or server is made. Unusable material is error(invalid_argument) that names the field.
struct tls_client_options {
  // Trusted authorities. When one is given, only these are trusted; else the system's store is.
  std::string ca_pem = {};
  std::string ca_file = {};

  // The client's own certificate (chain) and key, for servers that ask for one.
  std::string certificate_pem = {};
  std::string certificate_file = {};
  std::string key_pem = {};
  std::string key_file = {};

  // The name to ask for (SNI) and to verify in the certificate; by default the URL's host.
  std::string server_name = {};

  // False accepts any certificate: anyone on the path can read and change everything.
  bool verify = true;
};

// A server speaks TLS if it has a certificate.
struct tls_server_options {
  std::string certificate_pem = {};
  std::string certificate_file = {};
  std::string key_pem = {};
  std::string key_file = {};

  // Authorities of client certificates; when one is given, a client must show such a certificate.
  std::string client_ca_pem = {};
  std::string client_ca_file = {};

  bool enabled() const noexcept { return !certificate_pem.empty() || !certificate_file.empty(); }
};

}  // namespace mizzen::http
