; Setup of the agent for Windows (64 bit), for NSIS 3.
;
;   makensis -DVERSION=2.0.0 -DNUMBERS=2.0.0.0 -DPROGRAM=oco-agent.exe -DLICENSES=FOLDER/ -DOUTPUT=oco-agent-2.0.0-setup.exe oco-agent.nsi
;
; It takes the options of the agent's setup before version 2: /SILENT, /VERYSILENT, /DIR=FOLDER, and /LOADINF=FILE with the
; answers (oco-agent-setup.inf here). What it does to the configuration and to the service is the program's own work
; (`oco-agent service configure|install|renew|delete`). Exit codes: 0; 1 the user gave up; 2 the file of answers is
; missing; 3 files cannot be written; 4 the configuration and 5 the service cannot be set up.

Unicode true
; NSIS for Windows makes setups of 32 bits only.
!ifndef TARGET
    !define TARGET amd64-unicode
!endif
Target ${TARGET}
SetCompressor /SOLID lzma
RequestExecutionLevel admin
ManifestSupportedOS all
Name "OCO Agent"
OutFile "${OUTPUT}"
InstallDir "$PROGRAMFILES64\OCO Agent"
BrandingText "OCO Agent ${VERSION}"

VIProductVersion "${NUMBERS}"
VIAddVersionKey ProductName "OCO Agent"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "Setup of the OCO Agent"
VIAddVersionKey LegalCopyright "MIT or Apache-2.0"

!include LogicLib.nsh
!include FileFunc.nsh
!include WordFunc.nsh
!include nsDialogs.nsh
!include MUI2.nsh

!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\OCO Agent"
!define MUI_FINISHPAGE_NOREBOOTSUPPORT

Var AnswersFile
Var ServerName
Var AgentKey
Var ServerKey
Var ServerNameField
Var AgentKeyField
Var ServerKeyField

!insertmacro MUI_PAGE_DIRECTORY
Page custom AskForServer TakeAnswers
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"
!insertmacro MUI_LANGUAGE "German"

LangString Heading ${LANG_ENGLISH} "OCO server"
LangString Heading ${LANG_GERMAN} "OCO-Server"
LangString SubHeading ${LANG_ENGLISH} "Which server shall this computer report to?"
LangString SubHeading ${LANG_GERMAN} "An welchen Server soll sich dieser Computer melden?"
LangString ServerLabel ${LANG_ENGLISH} "Name of the server (empty: found by DNS)"
LangString ServerLabel ${LANG_GERMAN} "Name des Servers (leer: Suche im DNS)"
LangString AgentLabel ${LANG_ENGLISH} "Registration key of the agents"
LangString AgentLabel ${LANG_GERMAN} "Registrierungsschlüssel der Agenten"
LangString KeyLabel ${LANG_ENGLISH} "Key of the server (empty: its first answer is trusted)"
LangString KeyLabel ${LANG_GERMAN} "Schlüssel des Servers (leer: seiner ersten Antwort wird vertraut)"

; The value of an option, which may have quotes around it or, as some shells put them, around the whole option. The error
; flag says that it is missing.
!macro Option NAME VALUE
    ${GetParameters} $R0
    ClearErrors
    ${GetOptions} $R0 "${NAME}" ${VALUE}
    ${If} ${Errors}
        ClearErrors
        ${WordFind2X} $R0 '"${NAME}' '"' "E+1" ${VALUE}
    ${EndIf}
!macroend

; Sets whether nothing is asked, from the options of both kinds of setup.
!macro SilentIfAsked
    !insertmacro Option "/SILENT" $R1
    ${IfNot} ${Errors}
        SetSilent silent
    ${EndIf}
    !insertmacro Option "/VERYSILENT" $R1
    ${IfNot} ${Errors}
        SetSilent silent
    ${EndIf}
    ClearErrors
!macroend

; Ends with a code, after saying why where somebody reads it.
!macro GiveUp CODE TEXT
    DetailPrint "${TEXT}"
    SetErrorLevel ${CODE}
    MessageBox MB_ICONSTOP "${TEXT}" /SD IDOK
    Quit
!macroend

; Runs the program; what it says is in the details, its exit code in $0.
!macro Agent ARGUMENTS
    nsExec::ExecToLog '"$INSTDIR\oco-agent.exe" ${ARGUMENTS}'
    Pop $0
!macroend

Function .onInit
    SetRegView 64
    ; Where it is already, unless the command line says otherwise.
    ReadRegStr $R2 HKLM "${UNINSTALL}" "InstallLocation"
    ${If} $R2 != ""
    ${AndIf} $INSTDIR == "$PROGRAMFILES64\OCO Agent"
        StrCpy $INSTDIR $R2
    ${EndIf}
    !insertmacro SilentIfAsked
    !insertmacro Option "/DIR=" $R1
    ${IfNot} ${Errors}
        StrCpy $INSTDIR $R1
    ${EndIf}
    !insertmacro Option "/LOADINF=" $R1
    ${IfNot} ${Errors}
        GetFullPathName $AnswersFile $R1
        ${IfNot} ${FileExists} $AnswersFile
            !insertmacro GiveUp 2 "There is no file of answers $R1."
        ${EndIf}
        ReadINIStr $ServerName $AnswersFile "Setup" "ServerName"
        ReadINIStr $AgentKey $AnswersFile "Setup" "AgentKey"
        ReadINIStr $ServerKey $AnswersFile "Setup" "ServerKey"
    ${EndIf}
    ClearErrors
FunctionEnd

; An upgrade asks nothing: the configuration stays.
Function AskForServer
    ${If} ${FileExists} "$INSTDIR\oco-agent.ini"
        Abort
    ${EndIf}
    !insertmacro MUI_HEADER_TEXT $(Heading) $(SubHeading)
    nsDialogs::Create 1018
    Pop $R0
    ${NSD_CreateLabel} 0 0 100% 12u $(ServerLabel)
    Pop $R0
    ${NSD_CreateText} 0 13u 100% 13u $ServerName
    Pop $ServerNameField
    ${NSD_CreateLabel} 0 36u 100% 12u $(AgentLabel)
    Pop $R0
    ${NSD_CreatePassword} 0 49u 100% 13u $AgentKey
    Pop $AgentKeyField
    ${NSD_CreateLabel} 0 72u 100% 12u $(KeyLabel)
    Pop $R0
    ${NSD_CreatePassword} 0 85u 100% 13u $ServerKey
    Pop $ServerKeyField
    nsDialogs::Show
FunctionEnd

; The answers go to the program as a file, too: keys stay out of command lines. The folder is this user's own, and goes
; away with the setup.
Function TakeAnswers
    ${NSD_GetText} $ServerNameField $ServerName
    ${NSD_GetText} $AgentKeyField $AgentKey
    ${NSD_GetText} $ServerKeyField $ServerKey
    InitPluginsDir
    StrCpy $AnswersFile "$PLUGINSDIR\answers.inf"
    FileOpen $R0 $AnswersFile w
    FileWriteUTF16LE /BOM $R0 "[Setup]$\r$\n"
    FileWriteUTF16LE $R0 'ServerName="$ServerName"$\r$\n'
    FileWriteUTF16LE $R0 'AgentKey="$AgentKey"$\r$\n'
    FileWriteUTF16LE $R0 'ServerKey="$ServerKey"$\r$\n'
    FileClose $R0
FunctionEnd

Section
    SetRegView 64
    SetOutPath $INSTDIR
    ; A program that runs can be renamed, not replaced. It goes away with the next setup, or the next start of Windows.
    Delete "$INSTDIR\*.old"
    ${If} ${FileExists} "$INSTDIR\oco-agent.exe"
        GetTempFileName $R0 $INSTDIR
        Delete $R0
        Rename "$INSTDIR\oco-agent.exe" "$R0.old"
    ${EndIf}
    ClearErrors
    SetOverwrite try
    File "/oname=oco-agent.exe" "${PROGRAM}"
    ${If} ${Errors}
        !insertmacro GiveUp 3 "$INSTDIR\oco-agent.exe cannot be written."
    ${EndIf}
    File "${LICENSES}LICENSE-MIT"
    File "${LICENSES}LICENSE-APACHE"
    CreateDirectory "$INSTDIR\service-checks"
    WriteUninstaller "$INSTDIR\uninstall.exe"

    ${If} $AnswersFile == ""
        !insertmacro Agent "service configure"
    ${Else}
        !insertmacro Agent 'service configure --answers "$AnswersFile"'
    ${EndIf}
    ${If} $AnswersFile == "$PLUGINSDIR\answers.inf"
        Delete $AnswersFile
    ${EndIf}
    ${If} $0 != 0
        !insertmacro GiveUp 4 "The configuration cannot be set up (code $0)."
    ${EndIf}
    !insertmacro Agent "service install"
    ${If} $0 != 0
        !insertmacro GiveUp 5 "The service cannot be set up (code $0)."
    ${EndIf}
    ; It may be a job of the agent that installs this: so it is not stopped, but starts anew once no job runs.
    !insertmacro Agent "service renew"
    ${If} $0 != 0
        !insertmacro GiveUp 5 "The service cannot be started (code $0)."
    ${EndIf}
    Delete /REBOOTOK "$INSTDIR\*.old"

    WriteRegStr HKLM "${UNINSTALL}" "DisplayName" "OCO Agent"
    WriteRegStr HKLM "${UNINSTALL}" "DisplayVersion" "${VERSION}"
    WriteRegStr HKLM "${UNINSTALL}" "DisplayIcon" "$INSTDIR\oco-agent.exe"
    WriteRegStr HKLM "${UNINSTALL}" "Publisher" "OCO in Rust"
    WriteRegStr HKLM "${UNINSTALL}" "InstallLocation" "$INSTDIR"
    WriteRegStr HKLM "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
    WriteRegStr HKLM "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
    WriteRegDWORD HKLM "${UNINSTALL}" "NoModify" 1
    WriteRegDWORD HKLM "${UNINSTALL}" "NoRepair" 1
    SectionGetSize 0 $R0
    WriteRegDWORD HKLM "${UNINSTALL}" "EstimatedSize" $R0
SectionEnd

Function un.onInit
    SetRegView 64
    !insertmacro SilentIfAsked
FunctionEnd

; All that setup and agent have made goes, the keys first of all. What others have put there stays: service checks.
Section "Uninstall"
    SetRegView 64
    !insertmacro Agent "service delete"
    ${If} $0 != 0
        !insertmacro GiveUp 5 "The service cannot be removed (code $0)."
    ${EndIf}
    nsExec::Exec 'schtasks /delete /f /tn oco-agent-restart'
    Pop $0
    Delete "$INSTDIR\oco-agent.ini"
    Delete "$INSTDIR\oco-agent.timestamp"
    Delete "$INSTDIR\oco-agent.sent-timestamp"
    Delete "$INSTDIR\oco-agent.lock"
    Delete "$INSTDIR\oco-agent.log"
    Delete "$INSTDIR\oco-agent.log.1"
    Delete "$INSTDIR\oco-agent-restart.xml"
    Delete "$INSTDIR\policies.json"
    Delete "$INSTDIR\.oco-agent-*.tmp"
    RMDir /r "$INSTDIR\journal"
    RMDir /r "$INSTDIR\staging"
    Delete /REBOOTOK "$INSTDIR\oco-agent.exe"
    Delete /REBOOTOK "$INSTDIR\*.old"
    Delete "$INSTDIR\LICENSE-MIT"
    Delete "$INSTDIR\LICENSE-APACHE"
    Delete "$INSTDIR\uninstall.exe"
    RMDir "$INSTDIR\service-checks"
    RMDir "$INSTDIR"
    DeleteRegKey HKLM "${UNINSTALL}"
SectionEnd
