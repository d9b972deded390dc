// openloop: sends one fixed HTTP request at a given rate, whatever the server does, and prints a
// latency histogram as JSON; what was not answered with 2xx has a histogram of its own, from the
// moment it was really sent: how quickly a server says no.
//
// Latency counts from the moment a request was *meant* to be sent. A closed-loop client waits for a
// slow answer before it sends again, so a stall of the server hides the requests that the stall
// would have delayed; here they queue, and their wait is part of their latency.
//
//   openloop PORT REQUEST_FILE CONNECTIONS RATE_PER_S SECONDS WARMUP_SECONDS SEED [ANSWERS_FILE]
//
// ANSWERS_FILE gets a line for each answer: when it was sent (CLOCK_MONOTONIC, ns), its latency in
// ns (-1 during the warm-up), what its Server-Timing adds up to from the queue on in us, its
// status, the model_version that it names, and the float that its last four bytes are.
//
// One thread, one epoll, at most one request in flight per connection, Poisson arrivals. The thread
// sleeps until shortly before an arrival is due and then spins, so that its own wake-up is not
// booked as the server's latency; `late_p99_ns` says how well that went.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int64_t kSpinNs = 100'000;  // A sleeping thread woke 60 us late on a virtual machine.
constexpr int64_t kDrainNs = 5'000'000'000;  // Then what is still unanswered is reported as such.
constexpr int64_t kNsPerS = 1'000'000'000;
constexpr size_t kReadBytes = 256 * 1024;

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerS + now.tv_nsec;
}

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "openloop: %s: %s\n", what, strerror(errno));
  exit(1);
}

// Upper edge of the value's bucket: 64 buckets per power of two, so at most 1.6 % too high.
int64_t BucketEdge(int64_t value_ns) {
  uint64_t value = static_cast<uint64_t>(std::max<int64_t>(value_ns, 0));
  int shift = std::max(0, static_cast<int>(std::bit_width(value)) - 7);
  return static_cast<int64_t>((((value >> shift) + 1) << shift) - 1);
}

class Histogram {
 public:
  void Add(int64_t value_ns) { ++buckets_[BucketEdge(value_ns)]; }
  int64_t Percentile(double fraction) const {
    int64_t total = 0, seen = 0;
    for (const auto& [edge, count] : buckets_) total += count;
    for (const auto& [edge, count] : buckets_) {
      seen += count;
      if (static_cast<double>(seen) >= fraction * static_cast<double>(total)) return edge;
    }
    return 0;
  }
  void Print() const {
    const char* comma = "";
    for (const auto& [edge, count] : buckets_) {
      printf("%s[%lld,%lld]", comma, static_cast<long long>(edge), static_cast<long long>(count));
      comma = ",";
    }
  }

 private:
  std::map<int64_t, int64_t> buckets_;
};

// One keep-alive connection. Parses no more than a status, a Content-Length and the body's end.
struct Link {
  int fd = -1;
  bool busy = false;
  int64_t intended_ns = 0;
  int64_t sent_ns = 0;
  size_t unsent = 0;       // Bytes of the request that the socket has not taken yet.
  std::string head;        // Bytes received until the head is complete.
  int64_t body_left = -1;  // -1 while the head is incomplete.
  bool good = false;
  std::string answer;  // The whole of it, if it is to be looked at.
};

// What is written down of an answer.
struct Seen {
  int64_t sent_ns;
  int64_t latency_ns;
  int64_t server_us;
  int status;
  int64_t version;
  float value;
};

// The number behind `key`, which stands somewhere in `text`; -1 without it.
double NumberAfter(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  return at == std::string_view::npos ? -1 : atof(text.data() + at + key.size());
}

Seen SeenIn(const std::string& answer, int64_t sent_ns, int64_t latency_ns) {
  Seen seen{sent_ns, latency_ns, 0, atoi(answer.c_str() + 9), -1, 0};
  for (const char* phase : {"queue;dur=", "stage;dur=", "run;dur=", "finish;dur=", "send;dur="}) {
    const double ms = NumberAfter(answer, phase);
    if (ms > 0) seen.server_us += static_cast<int64_t>(ms * 1000 + 0.5);
  }
  seen.version = static_cast<int64_t>(NumberAfter(answer, "\"model_version\":\""));
  memcpy(&seen.value, answer.data() + answer.size() - sizeof(float), sizeof(float));
  return seen;
}

class Client {
 public:
  Client(int port, std::string request, int connections, bool keeps_answers)
      : port_(port),
        request_(std::move(request)),
        keeps_answers_(keeps_answers),
        links_(connections),
        inbox_(kReadBytes) {
    epoll_ = epoll_create1(0);
    if (epoll_ < 0) Fail("epoll_create1");
    for (Link& link : links_) Open(link);
  }

  void Run(double rate_per_s, int64_t warmup_ns, int64_t measured_ns, uint64_t seed);
  void Print(double rate_per_s) const;
  void WriteAnswers(const char* path) const;

 private:
  void Open(Link& link);
  void Dispatch(int64_t now_ns);
  void Write(Link& link);
  void Read(Link& link);
  void Consume(Link& link, std::string_view bytes);
  bool ParseHead(Link& link);
  void Complete(Link& link);
  void Wait(int64_t until_ns);

  int port_;
  std::string request_;
  bool keeps_answers_;
  std::vector<Seen> seen_;
  std::vector<Link> links_;
  std::vector<char> inbox_;
  std::vector<Link*> free_;
  std::deque<int64_t> waiting_;  // Intended times of arrivals that found no free connection.
  int epoll_;
  int64_t measure_from_ns_ = 0;
  int64_t due_ns_ = INT64_MAX;  // When the next arrival is meant to be sent.
  int64_t sent_ = 0, completed_ = 0, non_2xx_ = 0, in_flight_ = 0, queued_ = 0, measured_ = 0;
  Histogram latency_, refused_, late_;
};

void Client::Open(Link& link) {
  link.fd = socket(AF_INET, SOCK_STREAM, 0);
  if (link.fd < 0) Fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port_));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(link.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) Fail("connect");
  int on = 1;
  setsockopt(link.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(link.fd, F_SETFL, fcntl(link.fd, F_GETFL) | O_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  event.data.ptr = &link;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, link.fd, &event) < 0) Fail("epoll_ctl");
  free_.push_back(&link);
}

// Starts as many waiting arrivals as there are free connections.
void Client::Dispatch(int64_t now_ns) {
  while (!waiting_.empty() && !free_.empty()) {
    Link& link = *free_.back();
    free_.pop_back();
    link.busy = true;
    link.intended_ns = waiting_.front();
    waiting_.pop_front();
    link.unsent = request_.size();
    link.sent_ns = now_ns >= 0 ? now_ns : NowNs();
    ++sent_;
    ++in_flight_;
    if (link.intended_ns >= measure_from_ns_) ++measured_;
    if (now_ns >= 0 && link.intended_ns >= measure_from_ns_) late_.Add(now_ns - link.intended_ns);
    Write(link);
  }
}

void Client::Write(Link& link) {
  while (link.unsent > 0) {
    const char* from = request_.data() + (request_.size() - link.unsent);
    ssize_t written = send(link.fd, from, link.unsent, MSG_NOSIGNAL);
    if (written < 0) {
      if (errno == EAGAIN) return;
      Fail("send");
    }
    link.unsent -= static_cast<size_t>(written);
  }
}

void Client::Read(Link& link) {
  for (;;) {
    ssize_t got = recv(link.fd, inbox_.data(), inbox_.size(), 0);
    if (got < 0) {
      if (errno == EAGAIN) return;
      Fail("recv");
    }
    if (got == 0) {
      errno = ECONNRESET;
      Fail("the server closed a connection");
    }
    Consume(link, {inbox_.data(), static_cast<size_t>(got)});
  }
}

void Client::Consume(Link& link, std::string_view bytes) {
  if (!link.busy) {
    errno = EPROTO;
    Fail("bytes without a request");
  }
  if (keeps_answers_) link.answer.append(bytes);
  if (link.body_left < 0) {
    link.head.append(bytes);
    if (!ParseHead(link)) return;
  } else {
    link.body_left -= static_cast<int64_t>(bytes.size());
  }
  if (link.body_left < 0) {
    errno = EPROTO;
    Fail("more bytes than the response announced");
  }
  if (link.body_left == 0) Complete(link);
}

// True once the head is complete; body_left is then what is still to come.
bool Client::ParseHead(Link& link) {
  size_t end = link.head.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  link.good = link.head.compare(0, 10, "HTTP/1.1 2") == 0;
  size_t body_bytes = link.head.size() - end - 4;
  std::string head = link.head.substr(0, end + 2);
  std::transform(head.begin(), head.end(), head.begin(),
                 [](unsigned char c) { return static_cast<char>(tolower(c)); });
  size_t at = head.find("\r\ncontent-length:");
  if (at == std::string::npos) {
    errno = EPROTO;
    Fail("a response without Content-Length");
  }
  link.body_left = atoll(head.c_str() + at + 17) - static_cast<int64_t>(body_bytes);
  return true;
}

void Client::Complete(Link& link) {
  int64_t now = NowNs();
  ++completed_;
  --in_flight_;
  if (!link.good) ++non_2xx_;
  if (link.intended_ns >= measure_from_ns_) {
    link.good ? latency_.Add(now - link.intended_ns) : refused_.Add(now - link.sent_ns);
  }
  if (keeps_answers_) {
    const bool is_measured = link.intended_ns >= measure_from_ns_;
    const int64_t latency_ns = is_measured ? now - link.intended_ns : -1;
    seen_.push_back(SeenIn(link.answer, link.sent_ns, latency_ns));
  }
  link.answer.clear();
  link.head.clear();
  link.body_left = -1;
  link.busy = false;
  free_.push_back(&link);
  // An arrival that waited for this connection was late through the server, not through us.
  Dispatch(-1);
}

// Handles events until the given time; spins over the last stretch.
void Client::Wait(int64_t until_ns) {
  epoll_event events[64];
  int64_t now = NowNs();
  int64_t sleep_ns = until_ns - now - kSpinNs;
  timespec timeout{};
  if (sleep_ns > 0) timeout = {sleep_ns / kNsPerS, sleep_ns % kNsPerS};
  int count = epoll_pwait2(epoll_, events, 64, &timeout, nullptr);
  if (count < 0 && errno != EINTR) Fail("epoll_pwait2");
  for (int i = 0; i < count; ++i) {
    Link& link = *static_cast<Link*>(events[i].data.ptr);
    if (events[i].events & EPOLLOUT) Write(link);
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) Read(link);
  }
}

void Client::Run(double rate_per_s, int64_t warmup_ns, int64_t measured_ns, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap_s(rate_per_s);
  int64_t start = NowNs();
  measure_from_ns_ = start + warmup_ns;
  int64_t stop = measure_from_ns_ + measured_ns;
  double due = static_cast<double>(start);
  for (;;) {
    due += gap_s(random) * kNsPerS;
    due_ns_ = static_cast<int64_t>(due);
    if (due_ns_ >= stop) break;
    while (NowNs() < due_ns_) Wait(due_ns_);
    if (free_.empty()) ++queued_;
    waiting_.push_back(due_ns_);
    Dispatch(NowNs());
  }
  int64_t give_up = NowNs() + kDrainNs;
  while ((in_flight_ > 0 || !waiting_.empty()) && NowNs() < give_up) Wait(give_up);
}

void Client::Print(double rate_per_s) const {
  int64_t unanswered = in_flight_ + static_cast<int64_t>(waiting_.size());
  printf("{\"rate_per_s\":%.1f,\"sent\":%lld,\"completed\":%lld,\"measured\":%lld,", rate_per_s,
         static_cast<long long>(sent_), static_cast<long long>(completed_),
         static_cast<long long>(measured_));
  printf("\"non_2xx\":%lld,\"unanswered\":%lld,\"queued\":%lld,\"late_p99_ns\":%lld,",
         static_cast<long long>(non_2xx_), static_cast<long long>(unanswered),
         static_cast<long long>(queued_), static_cast<long long>(late_.Percentile(0.99)));
  printf("\"histogram\":[");
  latency_.Print();
  printf("],\"refused\":[");
  refused_.Print();
  printf("]}\n");
}

void Client::WriteAnswers(const char* path) const {
  FILE* const file = fopen(path, "w");
  if (file == nullptr) Fail(path);
  for (const Seen& seen : seen_) {
    fprintf(file, "%lld %lld %lld %d %lld %g\n", static_cast<long long>(seen.sent_ns),
            static_cast<long long>(seen.latency_ns), static_cast<long long>(seen.server_us),
            seen.status, static_cast<long long>(seen.version), static_cast<double>(seen.value));
  }
  if (fclose(file) != 0) Fail(path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8 && argc != 9) {
    fprintf(stderr,
            "usage: openloop PORT REQUEST_FILE CONNECTIONS RATE SECONDS WARMUP_S SEED [ANSWERS]\n");
    return 2;
  }
  prctl(PR_SET_TIMERSLACK, 1UL);  // The default of 50 us would be most of a small latency.
  std::ifstream file(argv[2], std::ios::binary);
  std::string request((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  int connections = atoi(argv[3]);
  double rate_per_s = atof(argv[4]);
  if (request.empty() || connections < 1 || !(rate_per_s > 0)) {
    fprintf(stderr, "openloop: the request is empty, or a number is not positive\n");
    return 2;
  }
  Client client(atoi(argv[1]), std::move(request), connections, argc == 9);
  client.Run(rate_per_s, static_cast<int64_t>(atof(argv[6]) * kNsPerS),
             static_cast<int64_t>(atof(argv[5]) * kNsPerS), strtoull(argv[7], nullptr, 10));
  client.Print(rate_per_s);
  if (argc == 9) client.WriteAnswers(argv[8]);
  return 0;
}
