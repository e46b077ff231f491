// The steps of the quickstart: each is a plain function over a struct that says what goes in and
// what comes out.
#pragma once

#include <mizzen/pipelines.hpp>
#include <mizzen/serving.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace digits {

// Reads the CSV file, which may be out of reach for a moment: the first `failures` attempts fail.
struct ingest_io {
  std::string csv;
  mizzen::in<int> failures = 0;
  mizzen::out<mizzen::dataset> raw;
};
BOOST_DESCRIBE_STRUCT(ingest_io, (), (csv, failures, raw))
void ingest(ingest_io& io, mizzen::step_context& context);

// Normalises, shuffles and splits.
struct prepare_io {
  mizzen::in<mizzen::dataset> raw;
  int seed = 7;
  mizzen::out<mizzen::dataset> train, validation, test;
};
BOOST_DESCRIBE_STRUCT(prepare_io, (), (raw, seed, train, validation, test))
void prepare(prepare_io& io);

// Trains one network and reports to the tracking store while it does.
struct train_io {
  mizzen::in<mizzen::dataset> train, validation;
  mizzen::in<int> hidden = 64;
  mizzen::in<int> epochs = 30;
  double rate = 0.05;
  std::string tracking_uri;
  mizzen::out<mizzen::model> model;
  mizzen::out<std::string> model_id;
  mizzen::out<std::string> run_id;
};
BOOST_DESCRIBE_STRUCT(train_io, (),
                      (train, validation, hidden, epochs, rate, tracking_uri, model, model_id,
                       run_id))
void train(train_io& io, mizzen::step_context& context);

// Measures a model on the test split with Mizzen's own engine.
struct evaluate_io {
  mizzen::in<mizzen::model> model;
  mizzen::in<mizzen::dataset> test;
  mizzen::in<std::string> run_id;
  std::string tracking_uri;
  mizzen::out<double> accuracy;
};
BOOST_DESCRIBE_STRUCT(evaluate_io, (), (model, test, run_id, tracking_uri, accuracy))
void evaluate(evaluate_io& io);

// Picks the best candidate and says whether it is good enough.
struct gate_io {
  mizzen::in<std::vector<double>> accuracies;
  mizzen::in<std::vector<mizzen::model>> models;
  mizzen::in<std::vector<std::string>> model_ids;
  double least = 0.95;
  mizzen::out<bool> passed;
  mizzen::out<double> accuracy;
  mizzen::out<mizzen::model> best;
  mizzen::out<std::string> best_id;
};
BOOST_DESCRIBE_STRUCT(gate_io, (),
                      (accuracies, models, model_ids, least, passed, accuracy, best, best_id))
void gate(gate_io& io);

// Makes the winner a version of the registered model and points the alias "champion" at it.
struct register_io {
  mizzen::in<std::string> model_id;
  mizzen::in<double> accuracy;
  std::string tracking_uri;
  mizzen::out<int> version;
};
BOOST_DESCRIBE_STRUCT(register_io, (), (model_id, accuracy, tracking_uri, version))
void register_version(register_io& io);

// Serves the champion on loopback, asks it for the whole test split over HTTP, and compares.
struct serve_io {
  mizzen::in<mizzen::dataset> test;
  mizzen::in<int> version;
  mizzen::in<double> accuracy;
  std::string tracking_uri;
  mizzen::out<double> p50_ms, p99_ms;
};
BOOST_DESCRIBE_STRUCT(serve_io, (), (test, version, accuracy, tracking_uri, p50_ms, p99_ms))
void serve(serve_io& io, mizzen::step_context& context);

// The name under which the model is registered and served.
inline constexpr char model_name[] = "digits";

// A server, not yet started, with the version that the alias "champion" points at.
mizzen::serving::server champion_server(const std::string& tracking_uri, std::uint16_t port);

// All of it, wired. Parameters: "epochs", "failures".
mizzen::pipeline make_pipeline(const std::string& csv, const std::string& tracking_uri);

}  // namespace digits
