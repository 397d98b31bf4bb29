//! Installing, controlling and being a service of Windows.

mod log;

use super::{DISPLAY_NAME, NAME, restart};
use crate::errors::with_causes;
use crate::host::{Command, Host, HostError, Visibility};
use crate::signals;
use log::LogFile;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceControl, ServiceControlAccept,
    ServiceErrorControl, ServiceExitCode, ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo,
    ServiceStartType, ServiceState, ServiceStatus, ServiceType, UserEventCode,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};

/// How long a running job may go on once the service is to stop, as under systemd.
const STOP_TIME: Duration = Duration::from_secs(320);
/// Between two signs of life while it stops.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Between two looks at a service that stops or starts.
const LOOK: Duration = Duration::from_millis(200);
/// How long a service may take to start.
const START_TIME: Duration = Duration::from_secs(30);
/// After so long it is started again if it failed.
const RECOVERY: Duration = Duration::from_secs(60);
/// Failures are counted anew after a day.
const FORGIVEN: Duration = Duration::from_secs(24 * 3600);
/// The system has started it, as it does at its own start.
const ALREADY_RUNNING: i32 = 1056;
/// It starts or stops, and takes no control meanwhile.
const CANNOT_STOP_NOW: i32 = 1061;
/// It has ended.
const NOT_RUNNING: i32 = 1062;
/// There is no service of that name.
const NOT_THERE: i32 = 1060;
/// There is a service of that name.
const ALREADY_THERE: i32 = 1073;
/// The exit code that has the system start the service again.
const AGAIN: u32 = 1;

const DESCRIPTION: &str = "Reports this computer's inventory to its Open Computer Orchestration server and runs the jobs it orders.";

/// A service that cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service manager refuses.
    #[error("cannot {0} the service {NAME}; run this as an administrator")]
    Manager(&'static str, #[source] windows_service::Error),
    /// It does not become what it should.
    #[error("the service {NAME} is still {state:?} after {} s", waited.as_secs())]
    Slow {
        /// Its state.
        state: ServiceState,
        /// So long was waited.
        waited: Duration,
    },
    /// The scheduler does not take the task.
    #[error("the scheduler refuses the restart of the service: exit code {0:?}")]
    Scheduler(Option<i32>),
    /// The machine does not do what it should.
    #[error(transparent)]
    Host(#[from] HostError),
    /// This is no service.
    #[error("the service manager did not start this process")]
    NotStarted(#[source] windows_service::Error),
}

type Result<T, E = ServiceError> = std::result::Result<T, E>;

fn manager(operation: &'static str) -> impl FnOnce(windows_service::Error) -> ServiceError {
    move |error| ServiceError::Manager(operation, error)
}

fn open(operation: &'static str, access: ServiceAccess) -> Result<Service> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
        .and_then(|services| services.open_service(NAME, access))
        .map_err(manager(operation))
}

/// Registers `program` as a service that starts with the computer, and again when it fails; a service that is there is
/// brought up to date. Those settings that the
/// system does not take are returned: the service works without them.
pub fn install(program: &Path, config: Option<&Path>) -> Result<Vec<String>> {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let mut arguments: Vec<OsString> = vec!["service".into(), "run".into()];
    if let Some(config) = config {
        arguments.extend(["--config".into(), config.into()]);
    }
    let information = ServiceInfo {
        name: NAME.into(),
        display_name: DISPLAY_NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.to_owned(),
        launch_arguments: arguments,
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    };
    let wanted = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let services = ServiceManager::local_computer(None::<&str>, access).map_err(manager("install"))?;
    let service = match services.create_service(&information, wanted) {
        Err(error) if is_code(&error, ALREADY_THERE) => bring_up_to_date(&services, &information, wanted),
        created => created,
    };
    let service = service.map_err(manager("install"))?;
    let again = ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: RECOVERY,
    };
    let recovery = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGIVEN),
        reboot_msg: None,
        command: None,
        actions: Some(vec![again.clone(), again.clone(), again]),
    };
    let settings = [
        ("its description", service.set_description(DESCRIPTION)),
        ("its recovery", service.update_failure_actions(recovery)),
        (
            "its recovery after errors",
            service.set_failure_actions_on_non_crash_failures(true),
        ),
        (
            "time to finish a job before the computer stops",
            service.set_preshutdown_timeout(STOP_TIME),
        ),
    ];
    let refused = settings
        .into_iter()
        .filter_map(|(what, set)| Some(format!("{what} cannot be set: {}", set.err()?)));
    Ok(refused.collect())
}

/// Whether that is what the system said.
fn is_code(error: &windows_service::Error, code: i32) -> bool {
    matches!(error, windows_service::Error::Winapi(error) if error.raw_os_error() == Some(code))
}

/// Gives the service that is there these settings. Where another program was the service, which is the agent of before
/// version 2, that one is stopped first, but not waited for much longer than that takes without a job: it may be its
/// job that installs this.
fn bring_up_to_date(
    services: &ServiceManager,
    information: &ServiceInfo,
    wanted: ServiceAccess,
) -> windows_service::Result<Service> {
    let access = wanted | ServiceAccess::QUERY_CONFIG | ServiceAccess::QUERY_STATUS | ServiceAccess::STOP;
    let service = services.open_service(NAME, access)?;
    let before = service.query_config()?.executable_path;
    if !is_this_program(&before.to_string_lossy())
        && service.query_status()?.current_state != ServiceState::Stopped
    {
        // One that stops already refuses. That it still runs is seen by whoever starts the service.
        let _ = service.stop();
        let _ = wait_for(&service, ServiceState::Stopped, START_TIME);
    }
    service.change_config(information)?;
    Ok(service)
}

/// Whether the command line of a service is one that [`install`] makes, wherever the program lies.
fn is_this_program(command_line: &str) -> bool {
    let command_line = command_line.to_lowercase();
    let end = ["oco-agent.exe\" service run", "oco-agent.exe service run"];
    end.iter().any(|end| command_line.contains(end))
}

/// Has what is installed run: a service that does not run is started, one that runs is asked to start anew as soon as no
/// job runs. It is not waited for, as this may be part of its job: one that stops, which the agent of before version 2 does
/// once its job has ended, is started by the scheduler then.
pub fn renew(host: &dyn Host, state_folder: &Path) -> Result<()> {
    let access = ServiceAccess::START | ServiceAccess::QUERY_STATUS | ServiceAccess::USER_DEFINED_CONTROL;
    let service = open("renew", access)?;
    let state = service.query_status().map_err(manager("look at"))?.current_state;
    match state {
        ServiceState::Stopped => start(),
        ServiceState::Running => {
            service.notify(leave_code()?).map_err(manager("renew"))?;
            Ok(())
        }
        _ => restart_later(host, state_folder),
    }
}

/// The control that asks the service to start anew as soon as no job runs.
fn leave_code() -> Result<UserEventCode> {
    const CODE: u32 = 200;
    UserEventCode::from_raw(CODE).map_err(|error| {
        ServiceError::Manager("renew", windows_service::Error::ParseValue("its control", error))
    })
}

/// Starts the service and waits until it runs.
pub fn start() -> Result<()> {
    let service = open("start", ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    match service.start::<OsString>(&[]) {
        Err(error) if is_code(&error, ALREADY_RUNNING) => {}
        started => started.map_err(manager("start"))?,
    }
    wait_for(&service, ServiceState::Running, START_TIME)
}

/// Stops the service and waits for a running job.
pub fn stop() -> Result<()> {
    let service = open("stop", ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
    let status = service.query_status().map_err(manager("look at"))?;
    if status.current_state == ServiceState::Stopped {
        return Ok(());
    }
    match service.stop() {
        // It stops already, or has just ended.
        Err(error) if is_code(&error, CANNOT_STOP_NOW) || is_code(&error, NOT_RUNNING) => {}
        stopped => {
            stopped.map_err(manager("stop"))?;
        }
    }
    wait_for(&service, ServiceState::Stopped, STOP_TIME)
}

/// Stops the service and removes it; none is no error.
pub fn delete() -> Result<()> {
    match stop() {
        Err(ServiceError::Manager(_, error)) if is_code(&error, NOT_THERE) => return Ok(()),
        stopped => stopped?,
    }
    let service = open("delete", ServiceAccess::DELETE)?;
    service.delete().map_err(manager("delete"))
}

fn wait_for(service: &Service, wanted: ServiceState, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let state = service.query_status().map_err(manager("look at"))?.current_state;
        if state == wanted {
            return Ok(());
        }
        if Instant::now() > deadline || wanted == ServiceState::Running && state == ServiceState::Stopped {
            return Err(ServiceError::Slow { state, waited: limit });
        }
        std::thread::park_timeout(LOOK);
    }
}

/// What the service does, from its start to its stop; whether it is to be started again.
type Work = Box<dyn Fn() -> bool + Send + Sync>;

static WORK: OnceLock<Work> = OnceLock::new();
static LOG: OnceLock<LogFile> = OnceLock::new();
static IS_SERVICE: AtomicBool = AtomicBool::new(false);

/// Is the service, for a process that the service manager has started. What is logged goes into a file beside `config`,
/// since a service has no terminal. A stop is handed on as a signal; `work` says whether it is to be started again.
pub fn run(config: &Path, work: impl Fn() -> bool + Send + Sync + 'static) -> Result<()> {
    // Both are set once: this is called once in a process.
    let _ = LOG.set(LogFile::new(config.with_file_name("oco-agent.log")));
    let _ = WORK.set(Box::new(work));
    IS_SERVICE.store(true, Ordering::Relaxed);
    service_dispatcher::start(NAME, ffi_main).map_err(ServiceError::NotStarted)
}

/// Where this process logs to, if it is a service.
pub fn log_file() -> Option<&'static LogFile> {
    LOG.get()
}

/// Whether this process is the service.
pub fn is_running() -> bool {
    IS_SERVICE.load(Ordering::Relaxed)
}

define_windows_service!(ffi_main, service_main);

fn service_main(_arguments: Vec<OsString>) {
    if let Err(error) = serve() {
        tracing::error!(%error, "the service manager cannot be spoken with");
    }
}

fn serve() -> windows_service::Result<()> {
    let (stop_sender, stop_requested) = mpsc::channel();
    let stop_sender = Mutex::new(stop_sender);
    let manager = Arc::new(OnceLock::<ServiceStatusHandle>::new());
    let told = manager.clone();
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
            // At once, for a manager that knows of it sends nothing more: the library takes this for the last control that
            // comes, and frees the handler after it.
            if let Some(manager) = told.get() {
                let _ = manager.set_service_status(status(ServiceState::StopPending, 1, 0));
            }
            let sender = stop_sender.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = sender.send(());
            signals::request_stop();
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::UserEvent(code) if Some(code) == leave_code().ok() => {
            signals::request_leave();
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let handle = service_control_handler::register(NAME, handler)?;
    let handle = *manager.get_or_init(|| handle);
    handle.set_service_status(status(ServiceState::Running, 0, 0))?;
    let (end_sender, ended) = mpsc::channel::<()>();
    let signs = std::thread::spawn(move || show_life(handle, &stop_requested, &ended));
    let again = WORK.get().is_some_and(|work| work());
    drop(end_sender);
    let _ = signs.join();
    handle.set_service_status(status(ServiceState::Stopped, 0, if again { AGAIN } else { 0 }))
}

/// Once the service is to stop, tells the manager every few seconds that it has not forgotten.
fn show_life(handle: ServiceStatusHandle, stop_requested: &mpsc::Receiver<()>, ended: &mpsc::Receiver<()>) {
    loop {
        // The end shows by the other side being gone.
        match ended.recv_timeout(LOOK) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        if stop_requested.try_recv().is_ok() {
            break;
        }
    }
    for checkpoint in 2.. {
        if let Err(error) = handle.set_service_status(status(ServiceState::StopPending, checkpoint, 0)) {
            tracing::debug!(%error, "no sign of life");
        }
        if !matches!(
            ended.recv_timeout(SIGN_OF_LIFE),
            Err(mpsc::RecvTimeoutError::Timeout)
        ) {
            return;
        }
    }
}

fn status(state: ServiceState, checkpoint: u32, error: u32) -> ServiceStatus {
    ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: match state {
            ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN,
            _ => ServiceControlAccept::empty(),
        },
        exit_code: match error {
            0 => ServiceExitCode::NO_ERROR,
            error => ServiceExitCode::ServiceSpecific(error),
        },
        checkpoint,
        wait_hint: match state {
            ServiceState::StopPending => SIGN_OF_LIFE * 4,
            _ => Duration::ZERO,
        },
        process_id: None,
    }
}

/// Has the scheduler start the service again in a minute and, should it not be ready then, each minute after it, also if an
/// installer registers it anew meanwhile.
pub fn restart_later(host: &dyn Host, state_folder: &Path) -> Result<()> {
    let now = jiff::Timestamp::try_from(host.now())
        .map_err(|error| HostError::new("read", "the clock", io::Error::other(error)))?;
    let task = restart::task(now, &system_folder());
    let file = state_folder.join("oco-agent-restart.xml");
    host.write_file(&file, task.as_bytes(), Visibility::Private)?;
    let path = file.display().to_string();
    let command = Command {
        program: "schtasks",
        args: &["/create", "/f", "/tn", restart::TASK, "/xml", &path],
        time_limit: Duration::from_secs(30),
    };
    let output = host.run(&command);
    host.remove_file(&file)?;
    match output?.code {
        Some(0) => Ok(()),
        code => Err(ServiceError::Scheduler(code)),
    }
}

/// Takes back what [`restart_later`] has asked for: the service runs, and whoever stops it from now on wants it stopped.
pub fn forget_restart(host: &dyn Host) {
    if !host.exists(&system_folder().join("Tasks").join(restart::TASK)) {
        return;
    }
    let command = Command {
        program: "schtasks",
        args: &["/delete", "/f", "/tn", restart::TASK],
        time_limit: Duration::from_secs(30),
    };
    let kept = match host.run(&command) {
        Ok(output) if output.code == Some(0) => return,
        Ok(output) => format!("exit code {:?}", output.code),
        Err(error) => with_causes(&error).to_string(),
    };
    tracing::warn!(reason = %kept, "the scheduler keeps the task that starts the service");
}

fn system_folder() -> PathBuf {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    PathBuf::from(root).join("System32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_of_this_agent_is_told_from_the_one_of_before() {
        for own in [
            r#""C:\Program Files\OCO Agent\oco-agent.exe" service run"#,
            r"c:\oco\OCO-Agent.exe service run --config c:\oco\oco-agent.ini",
        ] {
            assert!(is_this_program(own), "{own}");
        }
        for other in [
            r#""C:\Program Files\OCO Agent\service-wrapper.exe""#,
            r"C:\oco\oco-agent.exe --daemon",
        ] {
            assert!(!is_this_program(other), "{other}");
        }
    }

    #[test]
    fn the_control_of_a_renewal_is_one() {
        assert_eq!(leave_code().unwrap(), leave_code().unwrap());
    }
}
