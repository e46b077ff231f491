#include "kubernetes/watch_source.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/stream.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/detail/resource_client.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/status.hpp>
#include <mizzen/kubernetes/watch.hpp>
#include <mizzen/kubernetes/watch_decoder.hpp>

#include <optional>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace {

namespace asio = boost::asio;

api_status status_of(const meta_v1::status& from) {
  api_status status;
  status.status = from.status;
  status.message = from.message;
  status.reason = from.reason;
  status.code = from.code;
  if (const meta_v1::status_details* details = from.details.get()) {
    status.details.name = details->name;
    status.details.group = details->group;
    status.details.kind = details->kind;
    status.details.uid = details->uid;
    status.details.retry_after_seconds = details->retry_after_seconds;
    for (const meta_v1::status_cause& cause : details->causes) {
      status.details.causes.push_back({cause.reason, cause.message, cause.field});
    }
  }
  return status;
}

class api_event_stream final : public event_stream {
 public:
  api_event_stream(http::response_stream from, body_encoding encoding, kind_access kind,
                   std::string subject)
      : from_(std::move(from)), frames_(encoding), kind_(kind), subject_(std::move(subject)) {}

  asio::awaitable<bool> read() override {
    const std::string_view piece = co_await from_.read();
    if (piece.empty()) co_return false;
    frames_.feed(piece);
    co_return true;
  }

  bool next(wire_event& out) override {
    const std::optional<watch_frame> frame = frames_.next();
    if (!frame) return false;
    out = {};
    if (frame->type == watch_type::error) {
      out.failure = std::make_exception_ptr(
          status_error(subject_, 0, status_of(frames_.read_status(*frame))));
      return true;
    }
    mutable_object_ptr object = kind_.decode(frames_.encoding(), frame->object);
    out.resource_version = kind_.identify(object.get()).resource_version;
    switch (frame->type) {
      case watch_type::added:
        out.kind = wire_kind::added;
        break;
      case watch_type::modified:
        out.kind = wire_kind::modified;
        break;
      case watch_type::deleted:
        out.kind = wire_kind::deleted;
        break;
      default:
        out.kind = wire_kind::bookmark;
        out.initial_events_end = kind_.ends_initial_events(object.get());
        return true;
    }
    out.object = std::move(object);
    return true;
  }

  bool mid_event() const override { return frames_.mid_event(); }

  void close() noexcept override { from_.close(); }

 private:
  http::response_stream from_;
  watch_frame_decoder frames_;
  kind_access kind_;
  std::string subject_;
};

struct page_sink final : list_sink {
  explicit page_sink(kind_access of) : kind(of) {}

  void begin(body_encoding encoding) override {
    // Once more from the beginning, when a list is tried again.
    page = {};
    items.emplace(encoding);
  }
  void feed(std::string_view piece) override {
    items->feed(piece);
    while (const std::optional<list_item> item = items->next()) {
      page.objects.push_back(kind.decode(items->encoding(), item->object));
    }
  }
  void finish() override {
    items->finish();
    page.resource_version = items->metadata().resource_version;
    page.continue_token = items->metadata().continue_;
  }

  kind_access kind;
  std::optional<list_item_decoder> items;
  wire_page page;
};

class api_watch_source final : public watch_source {
 public:
  api_watch_source(resource_client of, kind_access kind, const watch_options& options)
      : of_(std::move(of)),
        kind_(kind),
        label_selector_(options.label_selector),
        field_selector_(options.field_selector) {}

  asio::awaitable<wire_page> list(watch_step step, cancellation cancel) override {
    list_options options = selectors();
    options.limit = step.limit;
    options.continue_token = std::move(step.continue_token);
    options.cancel = std::move(cancel);
    page_sink sink(kind_);
    co_await of_.list(std::move(options), sink);
    if (sink.page.resource_version.empty()) {
      throw error(errc::data_loss, of_.list_path(selectors()),
                  "the list has no metadata.resourceVersion to watch from");
    }
    co_return std::move(sink.page);
  }

  asio::awaitable<std::shared_ptr<event_stream>> watch(watch_step step,
                                                       cancellation cancel) override {
    list_options options = selectors();
    options.resource_version = step.resource_version;
    std::string more = "watch=true&allowWatchBookmarks=true&timeoutSeconds=" +
                       std::to_string(step.timeout.count());
    if (step.initial_events) more += "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    http::request request;
    request.url = of_.list_path(options, more);
    request.headers.set("Accept", accept());
    const std::string subject = "GET " + request.url;
    call_options call;
    call.cancel = std::move(cancel);
    call.retry = false;  // the machine's business
    client k8s = of_.k8s();
    http::response_stream opened = co_await k8s.open(std::move(request), std::move(call));
    const std::string_view type = opened.head().headers.value("Content-Type");
    const std::optional<body_encoding> encoding = body_encoding_of(type);
    if (!encoding) {
      throw error(errc::data_loss, subject,
                  "the answer is neither JSON nor protobuf but " + std::string(type));
    }
    co_return std::make_shared<api_event_stream>(std::move(opened), *encoding, kind_, subject);
  }

 private:
  list_options selectors() const {
    list_options options;
    options.label_selector = label_selector_;
    options.field_selector = field_selector_;
    return options;
  }

  std::string accept() const {
    if (kind_.metadata_only) return of_.accept(object_shape::metadata, false, encoding::automatic);
    if (of_.prefers_protobuf()) {
      return "application/vnd.kubernetes.protobuf;stream=watch, application/json";
    }
    return "application/json";
  }

  resource_client of_;
  kind_access kind_;
  std::string label_selector_, field_selector_;
};

}  // namespace

std::unique_ptr<watch_source> make_api_watch_source(const resource_client& of, kind_access kind,
                                                    const watch_options& options) {
  return std::make_unique<api_watch_source>(of, kind, options);
}

reflector::reflector(const resource_client& of, kind_access kind, watch_options options)
    : reflector(of.k8s().executor(), make_api_watch_source(of, kind, options), options) {}

informer_core::informer_core(const resource_client& of, kind_access kind,
                             erased_informer_options options)
    : informer_core(of.k8s().executor(), make_api_watch_source(of, kind, options.watch),
                    kind.identify, options) {}

}  // namespace mizzen::kubernetes::detail
