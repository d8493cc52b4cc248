"""Functions that the command-line tools share, for every task.

A tool loads only the modules of the names that it uses.
"""
from ..utils.imports import lazy_names, provide_find_loader

# Each tool imports this package, and so do the tool's spawned workers.
provide_find_loader()

__getattr__ = lazy_names(__name__, {
    '..checkpoint.compatibility': 'check_fits fitting_state_dict',
    '..checkpoint.download': 'local_checkpoint',
    '..checkpoint.pretrained': 'check_pretrained fetch_weights set_weights',
    '..checkpoint.work_dir':
        'check_places check_resumable full_disk_errors latest_checkpoint '
        'saved_checkpoints',
    '..config.loading':
        'dicts_in explain_build_errors find_config read_config',
    '..config.model_kind': 'is_tracker',
    '..config.requirements': 'require_packages require_scope',
    '..datasets.checks.check_datasets': 'check_datasets',
    '..datasets.checks.coco_annotations': 'parse_once',
    '..deployment.arguments':
        'add_deploy_arguments deploy_settings print_compile_note',
    '..errors':
        'AnnotationErrors UserError damage_errors first_line one_line_errors '
        'printable shown some_of',
    '..utils.arguments': 'at_least positive rename_option',
    '..utils.console': 'quiet_screen warn',
    '..utils.device': 'device_name',
    '..utils.file_lock': 'check_free work_dir_lock',
    '..utils.files':
        'check_new check_new_folder check_outputs new_folder replace_text '
        'unused write_errors write_json write_lines write_text',
    '..utils.safe_load': 'check_checkpoint enable_safe_loading',
    '..utils.terminal': 'counting_bar format_duration show show_line',
    '..utils.text': 'command counted line short wrapped',
    '..utils.tiles': 'check_tiling',
    '..utils.timing':
        'WIDE_SPREAD Candidate interleave median relative_iqr timer_for '
        'warm_up',
    '.best_metrics': 'format_metric',
    '.cli':
        'Debug adapt_to_device add_common_arguments add_launcher_arguments '
        'add_speed_arguments call_in_first_process check_work_dir '
        'destroy_process_group exit_on_interrupt load_config names_weights '
        'start_processes use_tta',
    '.config_checks': 'check_settings check_testing check_training',
    '.hooks.check_nan': 'CheckNaNHook',
    '.hooks.atomic_checkpoint': 'AtomicCheckpointHook',
    '.hooks.visualization': 'add_visualization_hook',
    '.lr_scaling': 'scale_learning_rate',
    '.run_summary':
        'describe_model describe_runner print_summary suggest_prediction',
    '.runner': 'QuietRunner',
    '.speed_options': 'apply_speed_options',
    '.error_report': 'add_report_hook',
    '.testing': 'build_test_runner prepare_test use_deploy_hook',
    '.tracker_testing': 'prepare_tracker_test save_tracks submit_tracks',
}, SaveSafely='AtomicCheckpointHook', StopAtNaN='CheckNaNHook',
    load_safely='enable_safe_loading')
