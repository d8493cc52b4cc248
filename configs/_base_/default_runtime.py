default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # docs/training.md says what each does; enabled=False switches it off.
    state_dict_adapter=dict(type='mmlowformer.StateDictAdapterHook'),
    image_errors=dict(type='mmlowformer.ImageErrorHook'),
    batch_norm_check=dict(type='mmlowformer.BatchNormCheckHook'),
    check_nan=dict(type='mmlowformer.CheckNaNHook'),
    memory_format=dict(type='mmlowformer.MemoryFormatHook'),
    chunked_loss=dict(type='mmlowformer.ChunkedLossHook'),
    run_summary=dict(type='mmlowformer.RunSummaryHook'),
    config_warnings=dict(type='mmlowformer.ConfigWarningHook'),
    progress_bar=dict(type='mmlowformer.ProgressBarHook'),
    resume_order=dict(type='mmlowformer.ResumeOrderHook'),
    resume_validation=dict(type='mmlowformer.ResumeValidationHook'),
    early_stopping_record=dict(type='mmlowformer.EarlyStoppingRecordHook'),
    log_history=dict(type='mmlowformer.LogHistoryHook'),
    atomic_checkpoint=dict(type='mmlowformer.AtomicCheckpointHook'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

# BatchNorm over all GPUs; MMEngine keeps the plain one on a single device.
sync_bn = 'torch'

log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
