use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, LogLevel, Options,
    UniversalCompactOptions,
};

/// Size at which RocksDB begins another of its two log files.
const LOG_BYTES: usize = 1 << 20;

/// A set of base options of RocksDB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// For most machines: leveled compaction, lz4.
    #[default]
    Default,
    /// For spinning disks: large files and long reads, zstd at the bottom (after Flink's `SPINNING_DISK_OPTIMIZED`).
    SpinningDisk,
    /// For flash: more compactions at once, steady writes (after Flink's `FLASH_SSD_OPTIMIZED`).
    Flash,
    /// For tests: small buffers and files, so that compaction starts early. Universal compaction, which leaves large old
    /// files alone.
    Tiny,
}

/// Options that [`RocksDbOptions::with_tune`](crate::RocksDbOptions::with_tune) can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuned {
    /// Options of the database.
    Database,
    /// Options of the column family of values, accumulators and sums.
    Values,
    /// Options of the column family of lists.
    Lists,
    /// Options of the column family of maps.
    Maps,
}

impl Profile {
    /// The options of the database.
    pub(crate) fn database(self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(LOG_BYTES);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        // The manifest is part of every incremental checkpoint.
        options.set_max_manifest_file_size(256 << 10);
        options.set_manifest_preallocation_size(4 << 10);
        // Opening a database starts this many threads per column family, however few files it has.
        options.set_max_file_opening_threads(3);
        match self {
            Self::Default | Self::Tiny => options.set_max_background_jobs(2),
            Self::SpinningDisk => {
                options.set_max_background_jobs(4);
                options.set_compaction_readahead_size(4 << 20);
            }
            Self::Flash => {
                options.set_max_background_jobs(4);
                options.set_bytes_per_sync(1 << 20);
            }
        }
        if self == Self::Tiny {
            options.set_max_manifest_file_size(4 << 10);
        }
        options
    }

    /// The options of a column family. If `memory_is_small`, indexes and filters are partitioned.
    pub(crate) fn family(self, family: Tuned, cache: &Cache, memory_is_small: bool) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_block_size(if family == Tuned::Values { 4 << 10 } else { 16 << 10 });
        table.set_bloom_filter(10.0, false);
        // Otherwise they would not be charged to the budget.
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_format_version(6);
        if memory_is_small {
            // Whole filters would evict one another, and be read again for nearly every access.
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
            table.set_pin_top_level_index_and_filter(true);
        }
        let mut options = Options::default();
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        match self {
            Self::Default | Self::Flash => options.set_target_file_size_base(64 << 20),
            Self::SpinningDisk => {
                options.set_bottommost_compression_type(DBCompressionType::Zstd);
                options.set_target_file_size_base(256 << 20);
            }
            Self::Tiny => {
                table.set_block_size(1 << 10);
                options.set_compression_type(DBCompressionType::None);
                options.set_write_buffer_size(256 << 10);
                options.set_target_file_size_base(256 << 10);
                options.set_compaction_style(DBCompactionStyle::Universal);
                options.set_universal_compaction_options(&UniversalCompactOptions::default());
            }
        }
        options.set_block_based_table_factory(&table);
        options
    }
}
