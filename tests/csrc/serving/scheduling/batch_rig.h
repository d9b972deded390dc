// One instance of an engine with a batch of its own, and an engine that echoes.
#pragma once

#include <memory>
#include <span>

#include "serving/keeping_sink.h"
#include "serving/scheduling/batch.h"

namespace fastserve {

struct Rig {
  explicit Rig(const std::shared_ptr<FakeBackend>& backend, bool has_batch_dimension = true,
               SlabPool::Options memory = {})
      : backend(backend),
        pool(SlabPool::Create(memory)),
        instance(*backend->NewInstance()),
        batch({.signature = &backend->signature(),
               .has_batch_dimension = has_batch_dimension,
               .pool = pool.get(),
               .stats = &stats}) {}

  Batch::Outcome Run() { return batch.Run(*instance, NowNanos()); }
  uint64_t failures() const {
    return stats.failures[static_cast<size_t>(FailureReason::kBackend)].value();
  }

  std::shared_ptr<FakeBackend> backend;
  std::unique_ptr<SlabPool> pool;
  ServableStats stats;
  std::unique_ptr<ModelInstance> instance;
  KeepingSink sink;
  Batch batch;
};

inline Status Echo(std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) {
  for (size_t i = 0; i < inputs.size(); ++i) outputs.Add(i, inputs[i].tensor, inputs[i].owner);
  outputs.EndResponse();
  return {};
}

}  // namespace fastserve
