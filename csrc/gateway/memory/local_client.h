// Whether a request came straight from a program on this machine: those alone may share memory.
//
// A peer on a Unix socket or a loopback address is no proof: a reverse proxy on this machine makes
// everybody one, and so does a browser for any page that it shows. So the request itself must look
// as a program's own does: nothing in its head says that somebody passed it on, or that a page sent
// it, and over TCP it was meant for this machine by name (a page may have its own name resolve to
// 127.0.0.1). A proxy that hides itself is not seen; whoever runs one turns shared memory off.
//
// Threads: pure.
#pragma once

#include <span>
#include <string_view>

#include "gateway/peer.h"
#include "protocol/http1.h"
#include "protocol/http2/http2_session.h"

namespace fastserve {

// "unix", or an IP address as the peer of a connection has it.
bool IsLocalAddress(std::string_view address);

// `host`: what Host or :authority says.
bool IsLocalHost(std::string_view host);

// Whether such a field of a head, whatever its value, tells of a proxy or of a browser's page.
bool TellsOfOthers(std::string_view field_name);

// Of a connection with that peer.
bool IsLocalClient(const Peer& peer, const Http1Head& head);
bool IsLocalClient(const Peer& peer, const Http2Head& head);

}  // namespace fastserve
